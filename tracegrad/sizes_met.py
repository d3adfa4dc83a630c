"""SizesMet: which sizes calls of a function have come with that were followed, so that one which returns is recorded.

    f(x: f32[5,64])   no call had this size: followed      f(x: f32[5,64])   it returns: recorded      again: replayed

Only so many are kept in mind; one that returns after so many others is new again.
"""
from __future__ import annotations


class SizesMet:
    """Sizes of calls that were followed, the last `MOST` of them."""

    MOST = 1 << 12

    def __init__(self) -> None:
        self.followed = 0                       # calls
        self._met: dict[int, None] = {}         # hashes, the one met last at the end

    def are_new(self, sizes: int) -> bool:
        """Has no call come with these sizes (see other_sizes.sizes_of)? Now one has."""
        if sizes in self._met:
            self._met.pop(sizes, None)
            return False
        self._met[sizes] = None
        self.followed += 1
        if len(self._met) > self.MOST:
            self._met.pop(next(iter(self._met)), None)
        return True
