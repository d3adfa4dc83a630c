"""Benchmarks of the GPU target, on a machine with a GPU: `python -m benchmarks.gpu`."""
