"""triton_gpu: Plan -> Triton kernels, compiled ahead of time and launched through CuPy; checked without a GPU."""
