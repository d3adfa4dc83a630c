"""Laws: equations of elementwise ops, left to right, as data. A law holds for whole arrays and through broadcasting.

1. EXACT laws are true bit for bit: NaN, infinities and -0.0 included (add(x, 0) -> x is none: -0.0 + 0 is 0), and
   integers that wrap around. FAST laws are true of real numbers; they apply under `fast_math` only.
2. The right side is cheaper than the left (terms.COSTS) and has no variable more often, so applying laws ends.
3. There is no law that only reorders operands: where it matters, both orders are written.
"""
from __future__ import annotations

from codegen.ir.structs import struct
from codegen.optimize.terms import Apply, Term, parse_term


@struct
class Law:
    """left -> right."""

    text: str
    left: Apply
    right: Term

    def __str__(self) -> str:
        return self.text


def parse_laws(text: str) -> tuple[Law, ...]:
    """The laws of a text, one on each line, comments after #."""
    laws = []
    for line in filter(None, (line.partition("#")[0].strip() for line in text.splitlines())):
        left, right = (parse_term(side) for side in line.split("->"))
        if not isinstance(left, Apply):
            raise ValueError(f"the left side of {line!r} is no op")
        laws.append(Law(" ".join(line.split()), left, right))
    return tuple(laws)


EXACT = parse_laws("""
detach(x)               -> x

add(x, -0.0)            -> x            # an integer has one zero, and -0.0 matches it
add(-0.0, x)            -> x
sub(x, 0)               -> x
sub(-0.0, x:signed)     -> neg(x)
mul(x, 1)               -> x
mul(1, x)               -> x
mul(x, -1)              -> neg(x)
mul(-1, x)              -> neg(x)
mul(x:int, 0)           -> 0
mul(0, x:int)           -> 0
div(x, 1)               -> x
div(x, -1)              -> neg(x)
sub(x:int, x)           -> 0

neg(neg(x))             -> x
add(x, neg(y))          -> sub(x, y)
add(neg(x), y)          -> sub(y, x)
sub(x, neg(y))          -> add(x, y)
mul(neg(x), neg(y))     -> mul(x, y)
div(neg(x), neg(y))     -> div(x, y)
abs(abs(x))             -> abs(x)
abs(neg(x:signed))      -> abs(x)
sign(sign(x:signed))    -> sign(x)   # of a complex number it rounds

maximum(x, x)           -> x
minimum(x, x)           -> x
maximum(x, -inf)        -> x
maximum(-inf, x)        -> x
minimum(x, inf)         -> x
minimum(inf, x)         -> x

where(true, x, y)       -> x
where(false, x, y)      -> y
where(p, x, x)          -> x
where(not(p), x, y)     -> where(p, y, x)
where(p, true, false)   -> p
where(p, false, true)   -> not(p)

not(not(x))             -> x
not(eq(x, y))           -> ne(x, y)
not(ne(x, y))           -> eq(x, y)
not(lt(x:int, y))       -> ge(x, y)     # of floats, neither holds of a NaN
not(le(x:int, y))       -> gt(x, y)
not(gt(x:int, y))       -> le(x, y)
not(ge(x:int, y))       -> lt(x, y)
eq(x:int, x)            -> true
ne(x:int, x)            -> false
lt(x, x)                -> false
gt(x, x)                -> false
le(x:int, x)            -> true
ge(x:int, x)            -> true
eq(p, true)             -> p
eq(true, p)             -> p
ne(p, false)            -> p
ne(false, p)            -> p

and(x, x)               -> x
and(p, true)            -> p
and(true, p)            -> p
and(p, false)           -> false
and(false, p)           -> false
and(x:int, 0)           -> 0
and(0, x:int)           -> 0
or(x, x)                -> x
or(p, false)            -> p
or(false, p)            -> p
or(p, true)             -> true
or(true, p)             -> true
or(x:int, 0)            -> x
or(0, x:int)            -> x
xor(p, false)           -> p
xor(false, p)           -> p
xor(x:int, 0)           -> x
xor(0, x:int)           -> x
xor(x:bool, x)          -> false
xor(x:int, x)           -> 0
shift_right(x, 0)       -> x
""")

FAST = parse_laws("""
add(x, 0.0)             -> x
add(0.0, x)             -> x
sub(0.0, x:float)       -> neg(x)
sub(x:float, x)         -> 0.0
mul(x:float, 0.0)       -> 0.0
mul(0.0, x:float)       -> 0.0
div(0.0, x)             -> 0.0
div(x:float, x)         -> 1.0
neg(sub(x, y))          -> sub(y, x)

sub(add(x, y), y)       -> x
sub(add(x, y), x)       -> y
add(sub(x, y), y)       -> x
add(y, sub(x, y))       -> x
div(mul(x, y), y)       -> x
div(mul(x, y), x)       -> y
mul(div(x, y), y)       -> x
mul(y, div(x, y))       -> x
div(div(x, y), z)       -> div(x, mul(y, z))
div(x, div(y, z))       -> div(mul(x, z), y)

log(exp(x:float))       -> x           # of complex numbers, up to multiples of 2 pi i
exp(log(x))             -> x
exp(neg(log(x:float)))  -> div(1.0, x)
sqrt(mul(x:float, x))   -> abs(x)
mul(sqrt(x), sqrt(x))   -> x
""")
