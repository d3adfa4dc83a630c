"""NumPy code as it stands: what a traced function that is given ndarrays runs on.

    tg.trace(heat)(u)        boundary      u is adopted: a Tensor on its memory, so that guards, writes and replay are
                                           those of Tensors; results leave as arrays and NumPy scalars
      heat, np               substitution  while it is recorded, the function runs as a copy whose `np` is a namespace
                                           of functions that accept and make Arrays; nothing in NumPy is patched
      u[1:-1] + np.zeros(3)  arrays        an Array looks like an ndarray, holds a Tensor, computes with its operations
                             ufuncs        in the dtypes that NumPy itself says it would compute in
                             functions     ours for NumPy's functions in C; NumPy's own Python code for the rest

1. An Array gives what the ndarray would have given, or the run is not replayed: what has no counterpart is done by
   NumPy on the memory of the Array, and the recording is aborted with that reason.
2. Only Arrays are inputs of the recording. Other arrays that a run meets follow from what guards watch: constants.
"""
