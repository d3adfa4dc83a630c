"""Observed purity: may a recorded run of a Python function be replayed, and what must still hold when it is.

    prediction = predict(fn, args, kwargs, library)        what the run may read, and a snapshot of it
    observation = observe(prediction, call)                the run, and the code that ran
    changes = effects(prediction)                          what the run changed
    reads = read_set(prediction, observation, changes)     guards for everything it read; refusals

One walk (`anatomy.parts_of`) says, for any object, which of its parts a set of code objects can read. It is used before
the run to find the code that may run, around the run to find effects, and after it to write guards.

Outside of what can be seen, and so of what is promised: state that another thread changes during a run, writes through
raw memory to values that cannot change, recursion depth, counts of references, signal handlers, the order of a set of
Tensors, and functions that are patched inside of the library, NumPy or the standard modules of
`library.STANDARD_MODULES`.
"""
