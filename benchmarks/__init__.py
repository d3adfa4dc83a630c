"""benchmarks: one file for each question. `python -m benchmarks` answers all, `python -m benchmarks NAME ...` some."""
