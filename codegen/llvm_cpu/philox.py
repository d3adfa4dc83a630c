"""RandomWord as vector arithmetic: Philox4x32-10.

Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011. The meaning is that of the reference
random_bits: the 128-bit counter is (block's low word, high word, 0, 0), the key (low word, high word).
Words are kept in 64-bit lanes, so that the product of two is one instruction.
"""
from __future__ import annotations

from codegen.llvm_cpu import indexing, operations
from codegen.llvm_cpu.assembler import Assembler, Value, vector
from codegen.llvm_cpu.indexing import Affine, Point
from codegen.schedule.kernel import Index, Quotient, RandomWord, Remainder

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_KEY_STEPS = (0x9E3779B9, 0xBB67AE85)
_LOW_WORD = 0xFFFFFFFF
_ROUNDS = 10


def random_word(a: Assembler, point: Point, s: RandomWord, key: Value, counter: Value) -> Value:
    """Word index % 4 of block counter + index // 4 under key.

    A key or counter in lanes was loaded for some of them only, and the index may be below 0 in the others.
    """
    form = indexing.affine(a, point, s.index)
    in_every_lane = key.type.lanes == counter.type.lanes == 1
    if in_every_lane and form is not None and form.step == 1 and form.aligned % 4 == 0 and point.lanes % 4 == 0:
        return _consecutive(a, point, form, key, counter)
    block, chosen = (_number(a, point, Index(((term, 1),))) for term in (Quotient(s.index, 4), Remainder(s.index, 4)))
    words = _block(a, key, a.binary("add", *operations.together(a, block, counter)))
    result = words[3]
    for k in range(3):
        is_k = a.compare("icmp eq", chosen, a.constant(chosen.type, k))
        result = operations.select(a, is_k, words[k], result)
    return a.convert("trunc", result, vector("u32", result.type.lanes))


def _number(a: Assembler, point: Point, index: Index) -> Value:
    """An index as u64."""
    return operations.to_integer(a, indexing.number(a, point, index), "u64")


def _consecutive(a: Assembler, point: Point, form: Affine, key: Value, counter: Value) -> Value:
    """Whole blocks in a row: the four words of lanes / 4 blocks, interleaved."""
    count = point.lanes // 4
    first = a.binary("add", counter, a.binary("udiv", a.relabel(form.base, counter.type), a.constant(counter.type, 4)))
    type = vector("u64", count)
    blocks = a.binary("add", a.splat(first, count), a.lane_numbers(type)) if count > 1 else first
    words = [a.convert("trunc", w, vector("u32", count)) for w in _block(a, key, blocks)]
    if count == 1:
        result = a.constant(vector("u32", 4), 0)
        for k, word in enumerate(words):
            result = a.insert(result, word, k)
        return result
    low = a.shuffle(words[0], words[1], range(2 * count))
    high = a.shuffle(words[2], words[3], range(2 * count))
    return a.shuffle(low, high, [w * count + b for b in range(count) for w in range(4)])


def _block(a: Assembler, key: Value, block: Value) -> list[Value]:
    """The four words of each block, in 64-bit lanes."""
    type = block.type
    shift, mask = a.constant(type, 32), a.constant(type, _LOW_WORD)

    def high(x: Value) -> Value:
        return a.binary("lshr", x, shift)

    def low(x: Value) -> Value:
        return a.binary("and", x, mask)

    key_shift, key_mask = a.constant(key.type, 32), a.constant(key.type, _LOW_WORD)
    keys = [a.binary("and", key, key_mask), a.binary("lshr", key, key_shift)]
    zero = a.constant(type, 0)
    c0, c1, c2, c3 = low(block), high(block), zero, zero
    for _ in range(_ROUNDS):
        p0, p1 = (a.binary("mul", c, a.constant(type, m)) for c, m in zip((c0, c2), _MULTIPLIERS, strict=True))
        k0, k1 = (a.splat(k, type.lanes) for k in keys)
        c0, c1 = a.binary("xor", a.binary("xor", high(p1), c1), k0), low(p1)
        c2, c3 = a.binary("xor", a.binary("xor", high(p0), c3), k1), low(p0)
        sums = (a.binary("add", k, a.constant(k.type, step)) for k, step in zip(keys, _KEY_STEPS, strict=True))
        keys = [a.binary("and", k, key_mask) for k in sums]
    return [c0, c1, c2, c3]
