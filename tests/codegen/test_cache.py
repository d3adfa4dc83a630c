"""The cache believes nothing that it cannot check, and nothing it does raises."""
from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codegen.cache import MAGIC, DiskCache, content_key, default_directory

KEY, OTHER = content_key("a"), content_key("b")


@pytest.fixture
def disk(tmp_path: Path) -> DiskCache:
    return DiskCache(tmp_path / "made" / "when needed")


def only_file(disk: DiskCache) -> Path:
    file, = disk.directory.iterdir()
    return file


def test_what_is_put_is_got(disk: DiskCache) -> None:
    assert disk.get(KEY) is None
    disk.put(KEY, b"object")
    assert disk.get(KEY) == b"object"
    assert DiskCache(disk.directory).get(KEY) == b"object"
    assert disk.get(OTHER) is None


def test_the_last_put_wins(disk: DiskCache) -> None:
    disk.put(KEY, b"first")
    disk.put(KEY, b"second")
    assert disk.get(KEY) == b"second"
    assert len(list(disk.directory.iterdir())) == 1


@pytest.mark.parametrize("damage", [
    lambda data: b"",
    lambda data: data[:-1],
    lambda data: data + b"x",
    lambda data: data[:-1] + bytes([data[-1] ^ 1]),
    lambda data: bytes([data[0] ^ 1]) + data[1:],
    lambda data: data[:len(MAGIC)] + bytes(32) + data[len(MAGIC) + 32:],
    lambda data: os.urandom(len(data)),
], ids=["empty", "truncated", "longer", "flipped bit", "another format", "another key", "noise"])
def test_a_damaged_entry_is_discarded(disk: DiskCache, damage) -> None:
    disk.put(KEY, b"object" * 100)
    file = only_file(disk)
    file.write_bytes(damage(file.read_bytes()))
    assert disk.get(KEY) is None
    assert not file.exists()
    disk.put(KEY, b"again")
    assert disk.get(KEY) == b"again"


def test_an_entry_under_the_wrong_name_is_discarded(disk: DiskCache) -> None:
    disk.put(KEY, b"object")
    file = only_file(disk)
    file.rename(file.with_name(file.name.replace(KEY, OTHER)))
    assert disk.get(OTHER) is None


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can give a file to another user")
def test_an_entry_of_another_user_is_discarded(disk: DiskCache) -> None:
    disk.put(KEY, b"object")
    os.chown(only_file(disk), 12345, -1)
    assert disk.get(KEY) is None


def test_the_directory_stays_below_its_bound_and_the_oldest_go_first(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, limit_bytes=10_000)
    keys = [content_key(str(n)) for n in range(50)]
    for time, key in enumerate(keys):
        disk.put(key, bytes(500))
        os.utime(tmp_path / (key + ".code"), (time, time))
    disk.sweep()
    kept = [key for key in keys if disk.get(key) is not None]
    assert 0 < disk.size_bytes() <= 10_000
    assert kept == keys[-len(kept):]
    assert len(kept) == 10_000 // (disk.size_bytes() // len(kept))


def test_processes_that_store_little_take_turns_to_look_at_all_that_is_there(tmp_path: Path, monkeypatch) -> None:
    sweeps = []
    monkeypatch.setattr(DiskCache, "sweep", lambda self: sweeps.append(1))
    for _ in range(2_000):
        disk = DiskCache(tmp_path, limit_bytes=80_000)      # they sweep when 10,000 bytes were stored
        disk.put(KEY, bytes(60))
        disk.put(OTHER, bytes(40))
    assert 2 < len(sweeps) < 100                            # 20, mostly


def test_a_used_entry_outlives_an_unused_one(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    for key, time in ((KEY, 1), (OTHER, 2)):
        disk.put(key, bytes(1_000))
        os.utime(tmp_path / (key + ".code"), (time, time))
    assert disk.get(KEY) is not None
    DiskCache(tmp_path, limit_bytes=1_500).sweep()
    assert disk.get(OTHER) is None
    assert disk.get(KEY) is not None


def test_a_directory_that_cannot_be_written_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    disk = DiskCache(tmp_path / "file" / "below")
    disk.put(KEY, b"object")
    assert disk.get(KEY) is None
    assert disk.size_bytes() == 0
    disk.sweep()
    disk.discard(KEY)


def test_processes_share_a_directory(tmp_path: Path) -> None:
    """Writers of the same keys, with sweeps in between, never show a reader anything but a whole entry."""
    program = f"""
import sys
from pathlib import Path
from codegen.cache import DiskCache, content_key
disk = DiskCache(Path({str(tmp_path)!r}), limit_bytes=60_000)
for turn in range(60):
    key = content_key(str(turn % 7))
    found = disk.get(key)
    assert found is None or found == key.encode() * 100, found
    disk.put(key, key.encode() * 100)
    if turn % 10 == 0:
        disk.sweep()
"""
    root = Path(__file__).parents[2]
    writers = [subprocess.Popen([sys.executable, "-c", program], cwd=root) for _ in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    assert not list(tmp_path.glob("*.tmp"))


def test_a_key_depends_on_every_part_and_on_where_parts_end() -> None:
    assert len({content_key("ab", "c"), content_key("a", "bc"), content_key("abc"), content_key("ab", "c", "")}) == 4
    assert content_key("ab") == content_key(b"ab")


@pytest.mark.parametrize(("environment", "platform", "directory"), [
    ({"TRACEGRAD_CACHE_DIR": "/x/y", "XDG_CACHE_HOME": "/z"}, "linux", Path("/x/y")),
    ({"TRACEGRAD_CACHE_DIR": ""}, "linux", None),
    ({"XDG_CACHE_HOME": "/z"}, "linux", Path("/z/tracegrad")),
    ({"LOCALAPPDATA": "/local"}, "win32", Path("/local/tracegrad/cache")),
    ({}, "win32", None),
])
def test_the_directory_of_the_cache(environment: dict[str, str], platform: str, directory: Path | None) -> None:
    assert default_directory(environment, platform) == directory


def test_without_a_choice_the_cache_is_in_the_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "home", lambda: Path("/home/someone"))
    assert default_directory({}, "linux") == Path("/home/someone/.cache/tracegrad")
    assert default_directory({}, "darwin") == Path("/home/someone/Library/Caches/tracegrad")


def test_sources_that_are_shown_count_and_go_like_entries(disk: DiskCache) -> None:
    path = disk.show("exp", "x = 1\n")
    assert path.read_text() == "x = 1\n"
    (disk.directory / "mine.py").write_text("a file of the user's")
    assert disk.size_bytes() == 6
    disk.clear()
    assert [file.name for file in disk.directory.iterdir()] == ["mine.py"]


def test_a_source_that_cannot_be_shown_has_a_name_all_the_same(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert DiskCache(tmp_path / "file").show("exp", "").name == "exp.kernel.py"
