"""The CPU target: kernels as LLVM functions with explicit vectors, run by a small native driver."""
