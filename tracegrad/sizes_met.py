"""SizesMet: which sizes calls of a function have come with that no root has, so that one which returns gets a root.

    f(x: f32[5,64])   no call had this size      f(x: f32[5,64])   it returns: it gets a root      again: replayed

Only so many are kept in mind; one that returns after so many others is new again.
"""
from __future__ import annotations


class SizesMet:
    """Sizes of calls, the last `MOST` of them."""

    MOST = 1 << 12

    def __init__(self) -> None:
        self._met: dict[int, None] = {}         # hashes, the one met last at the end

    def are_new(self, sizes: int) -> bool:
        """Has no call come with these sizes (see other_sizes.sizes_of)? Now one has."""
        if sizes in self._met:
            self._met.pop(sizes, None)
            return False
        self._met[sizes] = None
        if len(self._met) > self.MOST:
            self._met.pop(next(iter(self._met)), None)
        return True
