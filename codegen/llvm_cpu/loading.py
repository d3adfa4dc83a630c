"""loading: compiled code into this process: what was kept on disk, or else what a thread compiles, which is then kept.

    loading = Loading(key, disk, write, ("f",))     linked, if the disk has it; else begun (see jobs)
    loading.addresses()                             {"f": address}, when it is compiled

1. Code is known by its key: what it was made from and what made it (see identity). An object from the disk that does
   not link is forgotten and made anew.
"""
from __future__ import annotations

from collections.abc import Callable, Mapping

from codegen.cache import DiskCache
from codegen.llvm_cpu.jobs import Job, submit
from codegen.llvm_cpu.link import COLD, HOT, LinkError, link


class Loading:
    """Code that is being loaded. `write` gives its text, if that is needed; `level`: how well it is compiled.

    A draft (see drafts) is compiled quickly and not kept; `write` gives its text, and is None of what is no draft.
    `later`: nobody waits for it. `meanwhile`: other code that is being compiled and computes the same bits: another
    copy of that is the draft.
    """

    def __init__(self, key: str, disk: DiskCache | None, write: Callable[[], str], exports: tuple[str, ...],
                 imports: Mapping[str, int] | None = None, level: int = HOT, draft: bool = False,
                 later: bool = False, meanwhile: Loading | None = None):
        self._exports, self._imports = exports, imports or {}
        self._names = exports                   # of these, in what is compiled
        self._addresses = None if disk is None else load_kept(key, disk, exports, imports)
        self.is_compiled = self._addresses is None
        """Is it made now, since there was none?"""
        self._job: Job | None = None
        self.write: Callable[[], str] | None = None
        self.level = level
        if self.is_compiled and meanwhile is not None and meanwhile._job is not None:
            self.write, self._job, self._names = write, meanwhile._job, meanwhile._exports
        elif self.is_compiled and draft:
            text = write()
            self.write, self._job = lambda: text, submit(text, COLD)
        elif self.is_compiled:
            self._job = submit(write(), level, lambda code: disk.put(key, code) if disk else None, later)

    @property
    def is_ready(self) -> bool:
        """Need nobody wait for it?"""
        job = self._job
        return job is None or job.is_done

    def addresses(self) -> dict[str, int]:
        """The addresses of what it exports; LinkError if its text or its object is not valid."""
        job = self._job
        if job is not None and self._addresses is None:
            found = link(job.code(), self._names, self._imports)
            self._addresses = {export: found[name] for export, name in zip(self._exports, self._names)}
            self._job = None
        assert self._addresses is not None
        return self._addresses


def load_kept(key: str, disk: DiskCache, exports: tuple[str, ...], imports: Mapping[str, int] | None = None
              ) -> dict[str, int] | None:
    """The addresses of `exports` of the object kept under `key`; None if there is none that links."""
    code = disk.get(key)
    if code is not None:
        try:
            return link(code, exports, imports)
        except LinkError:
            disk.discard(key)
    return None
