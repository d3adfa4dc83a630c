"""What the machine can do: measured once, kept, and compared with in the right place."""
from __future__ import annotations

import pytest

from codegen import ceilings, machine_ceilings
from codegen.cache import Cache, DiskCache
from codegen.ceilings import Ceilings
from codegen.llvm_cpu.features import AVX2, AVX512, PORTABLE, host_features
from codegen.llvm_cpu.link import compile_object
from codegen.llvm_cpu.peak import OF_TILES, peak_run, peak_text

KNOWN = Ceilings(2, {1 << 18: 90e9, 1 << 22: 60e9, 1 << 27: 30e9}, {1 << 18: 80e9, 1 << 22: 50e9, 1 << 27: 20e9},
                 {"f32": 180e9, "f64": 90e9})


@pytest.mark.parametrize("moved, written, flops, dtype, seconds, share, of", [
    (1 << 27, 1 << 26, 0, "f32", (1 << 27) / 10e9, 0.5, "of 20 GB/s"),
    (1 << 27, 4, 0, "f32", (1 << 27) / 15e9, 0.5, "of 30 GB/s"),            # it reads only
    (1 << 22, 1 << 21, 0, "i32", (1 << 22) / 50e9, 1.0, "of 50 GB/s"),
    (1000, 500, 0, "f32", 1e-6, 1 / 80, "of 80 GB/s"),                      # smaller than any that was measured
    (1 << 22, 1 << 21, 2 << 30, "f32", (2 << 30) / 90e9, 0.5, "of 180 Gflop/s"),
    (1 << 22, 1 << 21, 2 << 30, "f64", (2 << 30) / 90e9, 1.0, "of 90 Gflop/s"),
])
def test_work_is_compared_with_the_ceiling_that_it_is_nearer_to(moved, written, flops, dtype, seconds, share, of):
    found, against = KNOWN.share(moved, written, flops, dtype, seconds)
    assert found == pytest.approx(share) and against == of


def test_ceilings_are_measured_once_for_a_machine(tmp_path, monkeypatch):
    shared, measured = Cache(DiskCache(tmp_path)), []
    monkeypatch.setattr(ceilings, "default_cache", lambda: shared)
    monkeypatch.setattr(ceilings, "_measured", lambda threads: measured.append(threads) or KNOWN)
    ceilings._known.cache_clear()
    try:
        assert machine_ceilings() == machine_ceilings() == KNOWN and len(measured) == 1
        ceilings._known.cache_clear()                                       # another process
        kept = machine_ceilings()
        assert (kept.read, kept.moved, kept.peak) == (KNOWN.read, KNOWN.moved, KNOWN.peak) and len(measured) == 1
        assert machine_ceilings(again=True) == KNOWN and len(measured) == 2
    finally:
        ceilings._known.cache_clear()


def test_what_is_measured_is_possible(monkeypatch):
    monkeypatch.setattr(ceilings, "SECONDS", 0.0)
    monkeypatch.setattr(ceilings, "WORKING_SETS", (1 << 16, 1 << 20))
    found = ceilings._measured(1)
    assert set(found.read) == set(found.moved) == {1 << 16, 1 << 20} and set(found.peak) - {OF_TILES} == {"f32", "f64"}
    assert all(1e7 < speed < 1e14 for speeds in (found.read, found.moved, found.peak) for speed in speeds.values())
    assert "GB/s in 1 MB" in str(found)


@pytest.mark.parametrize("dtype", ["f32", "f64"])
def test_the_peak_computes_what_it_counts(dtype):
    executable, flops = peak_run(dtype)
    result, = executable()
    assert (result == 12 * 1.0).all()           # x = x / 2 + 1 / 2 goes to 1 in each of the chains
    assert flops % (2 * host_features().vector_bytes // result.itemsize) == 0
    for features in (AVX512, AVX2, PORTABLE):
        assert compile_object(peak_text(dtype, "peak", features))
