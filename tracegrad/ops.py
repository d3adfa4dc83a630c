"""tg.ops: the functions that were registered by `tg.autograd.register_function`, by name."""
from __future__ import annotations


def __getattr__(name: str) -> None:
    known = sorted(n for n, value in globals().items() if callable(value) and not n.startswith("_"))
    raise AttributeError(f"tg.ops has no {name}: registered are {', '.join(known) or 'none'}; "
                         "tg.autograd.register_function(name, function) adds one")
