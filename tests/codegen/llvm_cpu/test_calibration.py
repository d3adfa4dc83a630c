"""Who multiplies, where it was measured."""
from __future__ import annotations

from math import inf

import numpy as np
import pytest

from codegen.cache import Cache, DiskCache
from codegen.llvm_cpu import blas_panels, calibration, matmul
from codegen.llvm_cpu.blas import OWN, find_blas
from codegen.llvm_cpu.features import AVX2, host_features
from codegen.schedule.plan import Matmul

KEYS = [(dtype, form) for dtype in blas_panels.LLVM_TYPES for form in blas_panels.FORMS]


def test_a_part_of_a_measurement_is_not_taken(disk):
    blas_panels.keep_limits({KEYS[0]: 1000.0})
    assert chosen() == blas_panels.by_rule(host_features())


@pytest.fixture
def disk(tmp_path, monkeypatch: pytest.MonkeyPatch) -> DiskCache:
    cache = Cache(DiskCache(tmp_path))
    for module in (blas_panels, calibration):
        monkeypatch.setattr(module, "default_cache", lambda: cache)
    blas_panels.multiplier.cache_clear()
    yield cache.disk
    blas_panels.multiplier.cache_clear()


def chosen():
    """Who multiplies in a process that begins now."""
    blas_panels.multiplier.cache_clear()
    return blas_panels.multiplier(host_features())


@pytest.mark.parametrize(("ratios", "limit"), [
    ((1.3, 1.1, 1.0), inf), ((1.2, 0.9, 0.9), 1024.0**3), ((0.8, 0.8, 0.8), 512.0**3), ((0.8, 1.2, 0.9), 2048.0**3),
    ((0.8, 0.8, 0.99), inf), ((1.2, 1.0, 0.98), inf)])
def test_blas_is_asked_from_where_it_is_faster_at_all_larger_sizes(ratios, limit):
    assert calibration.limits_of({("f32", "a b"): ratios}) == {("f32", "a b"): limit}


def test_without_a_measurement_a_rule_decides(disk):
    assert chosen() == blas_panels.by_rule(host_features())


def test_what_was_measured_is_for_processes_to_come(disk):
    before = chosen()
    blas_panels.keep_limits(dict.fromkeys(KEYS, 1000.0) | {("f64", "a' b"): 8000.0})
    assert blas_panels.multiplier(host_features()) is before
    blas = chosen()
    assert blas.kind == find_blas().kind
    for dtype, form, limit in (("f32", "a b", 1000), ("f64", "a' b", 8000), ("f64", "a b'", 1000)):
        assert blas.begins(dtype, form) == limit
        turns = blas_panels.FORMS[form]
        for work, theirs in ((limit - 1, False), (limit, True)):
            assert matmul.by_blas(Matmul(0, 1, 2, dtype, 1, 1, 1, work, *turns), blas) == theirs
    assert blas_panels.multiplier(AVX2) == blas_panels.by_rule(AVX2)            # another processor


def test_our_own_code_needs_no_blas_where_it_is_faster_everywhere(disk):
    blas_panels.keep_limits(dict.fromkeys(KEYS, inf))
    assert chosen() == OWN


def test_what_is_kept_and_makes_no_sense_is_not_taken(disk):
    disk.put(blas_panels._limits_key(), b"f32,a b\nnonsense")
    assert chosen() == blas_panels.by_rule(host_features())


def test_both_compute_products_that_are_measured(disk, monkeypatch):
    monkeypatch.setattr(calibration, "SIZES", (48, 64))
    monkeypatch.setattr(calibration, "SHORTEST", 0.0)
    computed, ratio = [], calibration._ratio

    def noted(*calls):
        computed.append([call() for call in calls])
        return ratio(*calls)

    monkeypatch.setattr(calibration, "_ratio", noted)
    found = calibration.calibrate()
    assert set(found) == set(KEYS) and all(len(ratios) == 2 for ratios in found.values())
    assert all(np.isfinite(ratios).all() and min(ratios) > 0 for ratios in found.values())
    assert computed == [[-1, -1]] * len(KEYS) * 2
    assert blas_panels.kept_limits() == calibration.limits_of(found)


def test_with_no_room_to_keep_it_the_rule_stays(monkeypatch):
    monkeypatch.setattr(blas_panels, "default_cache", lambda: Cache(None))
    blas_panels.keep_limits(dict.fromkeys(KEYS, 1000.0))
    try:
        assert chosen() == blas_panels.by_rule(host_features())
    finally:
        blas_panels.multiplier.cache_clear()
