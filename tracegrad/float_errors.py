"""Floating-point exceptions of NumPy: silent while an operation runs, whatever np.errstate says."""
from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

try:        # what np.errstate sets, in an eighth of its time
    from numpy._core.umath import _extobj_contextvar, _make_extobj
except ImportError:
    def silence() -> Any:
        """Ignore floating-point exceptions; `restore` takes what this gives."""
        return np.seterr(all="ignore")

    def restore(errors: Any) -> None:
        """The settings as they were before `silence`."""
        np.seterr(**errors)
else:
    silence = partial(_extobj_contextvar.set, _make_extobj(all="ignore"))
    restore = _extobj_contextvar.reset      # type: ignore[assignment]
