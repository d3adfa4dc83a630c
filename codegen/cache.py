"""Cache: compiled code by content, in memory for the process and on disk across processes.

In: a key that names the content (what was compiled, by what, for what). Out: the bytes, or the loaded code, under it.

1. A file is believed only if it is ours, whole, and says that it holds the key it is named by; any other is removed.
2. A file appears under its name in one step, complete, so processes that share the directory never see half of one.
3. The directory stays below its bound: the entries that were used longest ago go first.
4. A directory that cannot be read or written is the same as an empty one: nothing here raises OSError.
"""
from __future__ import annotations

import hashlib
import os
import sys
import tempfile
import threading
from collections.abc import Mapping
from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"tracegrad code 1\n"
"""The first bytes of an entry; the number changes with the layout of an entry."""

LIMIT_BYTES = 256 << 20
"""The default bound of a directory."""

_DIGEST_BYTES = 32
_HEADER_BYTES = len(MAGIC) + 2 * _DIGEST_BYTES
_SWEEP_EVERY_BYTES = 8 << 20
_SUFFIX, _SHOWN = ".code", ".kernel.py"


def content_key(*parts: str | bytes) -> str:
    """The key of a content: SHA-256 over the parts and their lengths, in hexadecimal."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(b"%d:" % len(data))
        digest.update(data)
    return digest.hexdigest()


class DiskCache:
    """Entries of bytes under `directory`, at most about `limit_bytes` of them."""

    def __init__(self, directory: Path, limit_bytes: int = LIMIT_BYTES):
        self.directory, self.limit_bytes = directory, limit_bytes
        already = int.from_bytes(os.urandom(4), "little")       # by other processes, which keep no account of it
        self._until_sweep = self._between_sweeps - already % (self._between_sweeps + 1)

    def get(self, key: str) -> bytes | None:
        """The bytes stored under `key`; None when there are none that can be believed."""
        path = self._path(key)
        try:
            with open(path, "rb") as file:
                status = os.fstat(file.fileno())
                data = file.read()
        except OSError:
            return None
        payload = data[_HEADER_BYTES:]
        if not _is_ours(status) or data[:_HEADER_BYTES] != _header(key, payload):
            _remove(path)
            return None
        try:
            os.utime(path)
        except OSError:
            pass                    # only the order of eviction suffers
        return payload

    def put(self, key: str, payload: bytes) -> None:
        """Store `payload` under `key`."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(suffix=".tmp", dir=self.directory)
        except OSError:
            return
        try:
            with open(handle, "wb") as file:
                file.write(_header(key, payload) + payload)
            os.replace(temporary, self._path(key))
        except OSError:
            _remove(Path(temporary))
            return
        self._until_sweep -= len(payload)
        if self._until_sweep < 0:
            self.sweep()
            self._until_sweep = self._between_sweeps

    @property
    def _between_sweeps(self) -> int:
        """So many bytes are stored until what is there is looked at, which takes half a second where there is much."""
        return min(_SWEEP_EVERY_BYTES, self.limit_bytes // 8)

    def show(self, name: str, text: str) -> Path:
        """Where the source of a kernel is, for people and their tools to read; nothing is compiled from that file."""
        path = self.directory / (name + _SHOWN)
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != text.encode():         # its time goes into the code
                path.write_bytes(text.encode())
        except OSError:
            pass
        return path

    def discard(self, key: str) -> None:
        """Forget `key`."""
        _remove(self._path(key))

    def sweep(self) -> None:
        """Remove the entries used longest ago until the rest is within the bound."""
        total = 0
        for _, size, path in sorted(self._entries(), reverse=True):
            total += size
            if total > self.limit_bytes:
                _remove(path)

    def size_bytes(self) -> int:
        """The bytes of all entries."""
        return sum(size for _, size, _ in self._entries())

    def clear(self) -> None:
        """Remove every entry."""
        for *_, path in self._entries():
            _remove(path)

    def _path(self, key: str) -> Path:
        return self.directory / (key + _SUFFIX)

    def _entries(self) -> list[tuple[float, int, Path]]:
        """(time of last use, bytes, path) of every file of ours; a half-written one that was abandoned counts too."""
        found = []
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if entry.name.endswith((_SUFFIX, _SHOWN, ".tmp")):
                        try:
                            status = entry.stat(follow_symlinks=False)
                        except OSError:
                            continue        # another process removed it
                        found.append((status.st_mtime, status.st_size, Path(entry.path)))
        except OSError:
            pass
        return found


class Cache:
    """Loaded code by key, shared by everything compiled through it, with an optional DiskCache behind.

    `compiles`: may code be compiled that neither has?
    `cubins`: code for a GPU by key, with what a launch needs.
    `callers`: by the key of code that better code will take the place of, where its address is written: (words, word).
    Both may be read and written only while holding `lock`, which also serializes compilation.
    """

    def __init__(self, disk: DiskCache | None):
        self.disk = disk
        self.lock = threading.RLock()
        self.addresses: dict[str, int] = {}
        self.cubins: dict[str, Any] = {}
        self.callers: dict[str, list[tuple[np.ndarray, int]]] = {}
        self.compiles = True

    def without_compiling(self) -> Cache:
        """The same cache, for who takes known code only."""
        other = copy(self)
        other.compiles = False
        return other

    def clear(self) -> None:
        """Empty the disk; what this process has loaded stays."""
        if self.disk:
            self.disk.clear()

    def describe(self) -> str:
        """Where compiled code is kept, and how much of it there is."""
        if self.disk is None:
            return "in memory only"
        return f"{self.disk.directory}: {self.disk.size_bytes():,} of at most {self.disk.limit_bytes:,} bytes"


@cache
def default_cache() -> Cache:
    """The cache of this process, behind it the directory that `default_directory` names."""
    directory = default_directory(os.environ, sys.platform)
    shared = Cache(DiskCache(directory) if directory else None)
    if hasattr(os, "register_at_fork"):     # a child must not inherit a lock that another thread holds
        os.register_at_fork(before=shared.lock.acquire, after_in_parent=shared.lock.release,
                            after_in_child=shared.lock.release)
    return shared


def default_directory(environment: Mapping[str, str], platform: str) -> Path | None:
    """TRACEGRAD_CACHE_DIR, or where users of the platform keep caches; None without a home, or if that is empty."""
    chosen = environment.get("TRACEGRAD_CACHE_DIR")
    if chosen is not None:
        return Path(chosen) if chosen else None
    if platform == "win32":
        base = environment.get("LOCALAPPDATA")
        return Path(base) / "tracegrad" / "cache" if base else None
    if environment.get("XDG_CACHE_HOME") and platform != "darwin":
        return Path(environment["XDG_CACHE_HOME"]) / "tracegrad"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    return home / ("Library/Caches" if platform == "darwin" else ".cache") / "tracegrad"


def _header(key: str, payload: bytes) -> bytes:
    return MAGIC + bytes.fromhex(key) + hashlib.sha256(payload).digest()


def _is_ours(status: os.stat_result) -> bool:
    """Was the file written by this user, whose programs may run it?"""
    return not hasattr(os, "geteuid") or status.st_uid == os.geteuid()


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        pass                        # not ours to remove; it will be refused again
