"""What a code object mentions: every name that running it can read, and how it may look at what it reads.

    lambda x: x.w + bias       attributes {w}   globals {bias}   values {w, bias}
    getattr(o, name)           computed: any attribute of anything
    f"{o}"                     by_identity: an object may print its address

Facts are about the code alone. `Mentions` is their union over the code that may run, or that ran.
"""
from __future__ import annotations

import re
from collections.abc import Callable, Container, Iterable, Iterator
from operator import attrgetter
from types import CodeType
from typing import NamedTuple

from codegen.ir.structs import struct
from tracegrad.purity.bytecode import Step, steps
from tracegrad.purity.inside_tensors import INSIDE, read_inside

COMPUTES_NAMES = frozenset({
    "getattr", "setattr", "delattr", "hasattr", "vars", "dir", "globals", "locals", "eval", "exec", "attrgetter",
    "methodcaller", "__dict__", "format_map", "__getattribute__", "__import__", "import_module", "__globals__",
    "__closure__", "__slots__"})
"""Who uses these may read attributes that no instruction names."""

METHODS_TOO = frozenset({"eval", "exec"})
"""Names of methods as well, as in model.eval(); the builtins themselves are refused when they are called."""

TAKES_CONSTANT_NAME = frozenset({"getattr", "hasattr", "setattr", "delattr"})

LOOKS_AT_IDENTITY = frozenset({"repr", "str", "hash", "id", "format", "ascii", "print", "set", "frozenset",
                               "__repr__", "__str__", "__hash__"})
"""Who uses these may tell apart two objects that are alike in every part."""

REFLECTS = frozenset({"__globals__", "__closure__", "__code__", "__defaults__", "__kwdefaults__", "__annotations__",
                      "cell_contents", "f_globals", "f_locals", "f_back", "tb_frame", "gi_frame", "__builtins__",
                      "__subclasses__"})
"""Attributes that lead where the walk does not follow."""

LOADING = frozenset({"global", "local", "cell", "set cell", "attribute", "set attribute", "import from"})

NOTED = frozenset({"global", "attribute", "import from", "set attribute", "import", "match class", "format",
                   "format with spec", "set", "caught", "contains", "compare", "is"})
"""Steps that say something of the code beside what it loads."""

LONGEST_TEXT = 200      # longer constants are messages, not lists of names
WORD = re.compile(r"[A-Za-z_]\w*")


@struct(eq=False)
class Facts:
    """What one code object mentions, nested code not included."""

    code: CodeType                  # kept, so that the id it is found by stays its own
    attributes: frozenset[str]
    globals: tuple[str, ...]        # sorted
    cells: frozenset[str]           # variables shared with other code that it reads or sets, rather than passes on
    values: frozenset[str]          # names that are loaded other than to be called at once
    imports: frozenset[str]
    computed: bool                  # may read any attribute of anything
    computed_on_self: bool          # may read any attribute of its first argument
    by_identity: bool
    by_identity_if_raised: bool     # only in the making of an exception that leaves the frame
    compares: bool                  # ==, in, is: aliases can be told from copies
    formats_numbers: bool           # with a spec, which may ask for the locale's separators
    catches: bool                   # has a handler of exceptions, other than that of a `with`
    inside: frozenset[str]          # what is read that may be inside of a Tensor
    handed: frozenset[tuple[str, str]]      # a and b, where a callback is given a.b; "" and b, where it is given b
    loaded: frozenset[str]          # names that are read, or set, for anything but that
    chains: frozenset[str]          # every name on the way to what a callback is given

    @property
    def reflects(self) -> frozenset[str]:
        return self.attributes & REFLECTS


_FACTS: dict[int, Facts] = {}       # by id of the code: equal code of two modules is not the same code
_FAMILIES: dict[int, list[CodeType]] = {}       # by id of the code that is first in it
MOST_FACTS = 20_000


def facts_of(code: CodeType) -> Facts:
    """The facts of one code object; a pure function, remembered."""
    return _FACTS.get(id(code)) or remembered(_find_facts(code))


def known_facts(code: CodeType) -> Facts | None:
    """The facts of one code object, if they are remembered."""
    return _FACTS.get(id(code))


def remembered(facts: Facts) -> Facts:
    """These facts, which `facts_of` gives from now on."""
    if len(_FACTS) >= MOST_FACTS:
        _FACTS.clear()
    _FACTS[id(facts.code)] = facts
    return facts


def family(code: CodeType) -> list[CodeType]:
    """`code` and all code nested in it; remembered."""
    found = _FAMILIES.get(id(code))
    if found is None:
        if len(_FAMILIES) >= MOST_FACTS:
            _FAMILIES.clear()
        found = _FAMILIES[id(code)] = []
        todo = [code]
        while todo:
            member = todo.pop()
            found.append(member)
            todo += [constant for constant in member.co_consts if type(constant) is CodeType]
    return found


def _find_facts(code: CodeType) -> Facts:
    attributes: set[str] = set()
    globals_: set[str] = set()
    values: set[str] = set()
    imports: set[str] = set()
    computed = on_self = by_identity = if_raised = compares = formats_numbers = catches = False
    constants = _strings(code)
    program = steps(code)
    this = code.co_varnames[0] if code.co_argcount else None
    for k, (kind, value, called) in enumerate(program):
        if kind not in NOTED:
            continue
        match kind:
            case "global":
                globals_.add(value)
                if not called:
                    values.add(value)
            case "attribute" | "import from":
                attributes.add(value)
                if not called:
                    values.add(value)
            case "set attribute":
                attributes.add(value)
            case "import":
                imports.add(value)
                attributes.update(value.split("."))
            case "match class":
                attributes.add("__match_args__")
                attributes.update(constants)
            case "format" | "format with spec":
                if only_raises(code, program, k):
                    if_raised = True
                else:
                    by_identity = True
                formats_numbers |= kind == "format with spec"
            case "set":
                by_identity = True
            case "caught":
                catches |= program[k + 1].kind != "leave with"
            case "contains":
                compares = True
            case "compare":
                compares |= value in ("==", "!=")
            case "is":
                compares |= program[k - 1].kind != "constant"
        if not isinstance(value, str) or kind not in ("global", "attribute", "import from"):
            continue
        if value in LOOKS_AT_IDENTITY:
            if only_raises(code, program, k):
                if_raised = True
            else:
                by_identity = True
        if value == "format" and kind == "attribute":
            words = {word for text in constants if "{" in text for word in WORD.findall(text)}
            attributes |= words
            computed |= program[k - 1].kind != "constant"
        if value in COMPUTES_NAMES and not (kind == "attribute" and value in METHODS_TOO):
            words = {word for text in constants if len(text) < LONGEST_TEXT for word in WORD.findall(text)}
            attributes |= words
            values |= words
            if not _names_one(program, k):
                near = program[k - 1] if kind == "attribute" else program[min(k + 1, len(program) - 1)]
                if this and near.kind == "local" and near.value == this and value not in ("eval", "exec", "globals"):
                    on_self = True
                else:
                    computed = True
    chains = list(_given_to_callbacks(program)) if "callback" in code.co_names else []
    given = {k for chain in chains for k in chain}
    handed = frozenset((program[chain[-2]].value if len(chain) > 1 else "", program[chain[-1]].value)
                       for chain in chains)
    loaded = frozenset(value for k, (kind, value, _) in enumerate(program) if kind in LOADING and k not in given)
    cells = frozenset(value for kind, value, _ in program if kind in ("cell", "set cell"))
    inside = frozenset[str]() if INSIDE.isdisjoint(code.co_names) else read_inside(program, this)
    return Facts(code, frozenset(attributes), tuple(sorted(globals_)), cells, frozenset(values),
                 frozenset(imports), computed, on_self, by_identity, if_raised, compares, formats_numbers, catches,
                 inside, handed, loaded, frozenset(program[k].value for k in given))


def _given_to_callbacks(program: list[Step]) -> Iterator[range]:
    """The steps that load the first operand of a call of something named `callback`: a name, and attributes of it."""
    for k, (kind, value, called) in enumerate(program):
        if value == "callback" and called and kind in ("global", "attribute"):
            j = k + 1
            while j < len(program) and not program[j].called and (
                    program[j].kind == "attribute" or j == k + 1 and program[j].kind in ("local", "cell", "global")):
                j += 1
            if j > k + 1:
                yield range(k + 1, j)


def _strings(code: CodeType) -> list[str]:
    """String constants of `code`, those in constant tuples included."""
    found = []
    for constant in code.co_consts:
        found += [c for c in (constant if isinstance(constant, tuple) else (constant,)) if isinstance(c, str)]
    return found


def only_raises(code: CodeType, program: list[Step], k: int) -> bool:
    """Does control, from step k on, go straight to a raise that this frame cannot catch?"""
    if not code.co_exceptiontable:
        for step in program[k:]:
            if step.kind == "raise":
                return True
            if step.kind == "leave":
                return False
    return False


def _names_one(program: list[Step], k: int) -> bool:
    """Does the computed read begun at step k name one constant attribute? getattr(o.a, "k"), o.__dict__["k"], ..."""
    name, kind = program[k].value, program[k].kind
    if kind == "global" and name in TAKES_CONSTANT_NAME and program[k].called:
        return _calls_with_constant_name(program[k + 1:])
    if kind == "attribute" and name == "__dict__":
        return _asks_for_constant_key(program, k)
    return False


def _calls_with_constant_name(after: list[Step]) -> bool:
    """<name or attribute chain>, "constant"[, <one load>], call"""
    if not after or after[0].kind not in ("local", "cell", "global"):
        return False
    j = 1
    while j < len(after) and after[j].kind == "attribute":
        j += 1
    if j + 1 >= len(after) or after[j].kind != "constant" or not isinstance(after[j].value, str):
        return False
    j += 1
    if after[j].kind in ("local", "cell", "global", "constant"):
        j += 1
    return j < len(after) and after[j].kind == "call"


def _asks_for_constant_key(program: list[Step], k: int) -> bool:
    """o.__dict__["k"], "k" in o.__dict__, o.__dict__.get("k"[, <one load>])"""
    after = [s.kind for s in program[k + 1:k + 5]]
    if after[:1] == ["contains"]:
        j = k - 1
        while program[j].kind == "attribute":
            j -= 1
        return program[j].kind in ("local", "cell", "global") and j > 0 and _is_text(program[j - 1])
    if after[:2] == ["constant", "subscript"]:
        return _is_text(program[k + 1])
    if after[:2] == ["attribute", "constant"] and program[k + 1].value == "get" and _is_text(program[k + 2]):
        return after[2:3] == ["call"] or after[3:4] == ["call"] and after[2] in ("local", "cell", "global", "constant")
    return False


def _is_text(step: Step) -> bool:
    return step.kind == "constant" and isinstance(step.value, str)


class Mentioned(NamedTuple):
    """What all code that may run mentions, and names that C code reads: how a walk looks at objects in the end."""

    attributes: frozenset[str]
    inside: frozenset[str]
    values: frozenset[str]
    flags: tuple[bool, ...]


FLAGS = ("computed_on_self", "by_identity", "by_identity_if_raised", "compares", "formats_numbers", "catches")


def mentioned_by(codes: Iterable[CodeType], names_met: Iterable[str]) -> Mentioned:
    """What this code mentions, with names that C code reads."""
    facts = [facts_of(code) for code in codes]
    return Mentioned(frozenset(names_met).union(*[f.attributes for f in facts]),
                     frozenset().union(*[f.inside for f in facts]), frozenset().union(*[f.values for f in facts]),
                     tuple([any(map(attrgetter(flag), facts)) for flag in FLAGS]))


class Mentions:
    """The union of the facts of some code objects. `covers` tells for which functions they were gathered.

    `handing`: the ids of code that is known to have called tg.debug.callback. `find`: what gives the facts of code.
    """

    def __init__(self, codes: Iterable[CodeType] = (), handing: Container[int] = (),
                 find: Callable[[CodeType], Facts] = facts_of):
        self.codes: dict[int, CodeType] = {}
        self.attributes: set[str] = set()
        self.inside: set[str] = set()
        self.values: set[str] = set()
        self.computed = self.by_identity = self.by_identity_if_raised = self.compares = self.formats_numbers = False
        self.catches = self.computed_on_self = False
        self._find = find
        self._handing, self._handed, self._loaded = handing, set[tuple[str, str]](), set[str]()
        self.computes_on_self: set[int] = set()
        self.codes_of_class: dict[type, frozenset[int]] = {}
        self.own_codes_of_class: dict[type, frozenset[int]] = {}
        for code in codes:
            self.add(code)

    def expect(self, mentioned: Mentioned) -> None:
        """Look at objects as if code had been added that mentions this."""
        self.attributes |= mentioned.attributes
        self.inside |= mentioned.inside
        self.values |= mentioned.values
        for flag, holds in zip(FLAGS, mentioned.flags):
            setattr(self, flag, getattr(self, flag) or holds)

    @property
    def how(self) -> tuple[bool | int, ...]:
        """How all objects are looked at, whatever names are mentioned. It grows only. (How those are of which a method
        is among `computes_on_self` depends on that too.)"""
        return (self.computed, self.by_identity, self.by_identity_if_raised, self.compares, self.formats_numbers,
                self.catches, len(self.inside))

    def add(self, code: CodeType) -> None:
        """Add the facts of one code object."""
        if id(code) in self.codes:
            return
        facts = self._find(code)
        self.codes[id(code)] = code
        self.attributes |= facts.attributes
        self.inside |= facts.inside
        self.values |= facts.values
        self.computed |= facts.computed
        self.by_identity |= facts.by_identity
        self.by_identity_if_raised |= facts.by_identity_if_raised
        self.compares |= facts.compares
        self.formats_numbers |= facts.formats_numbers
        self.catches |= facts.catches
        self._loaded |= facts.loaded
        if id(code) in self._handing:
            self._handed |= facts.handed
        else:
            self._loaded |= facts.chains
        if facts.computed_on_self:
            self.computed_on_self = True
            self.computes_on_self.add(id(code))

    def add_family(self, code: CodeType) -> None:
        """Add `code` and all code nested in it."""
        for member in family(code):
            self.add(member)

    def reads_of_strangers(self) -> bool:
        """Does code that may read any attribute of its first argument belong to no class that was met?

        Then what it reads may be an attribute of anything.
        """
        if self.computed or self.computes_on_self <= set().union(*self.codes_of_class.values()):
            return False
        self.computed = True
        return True

    def only_handed(self) -> dict[str, set[str]]:
        """Names of what is given to callbacks and used for nothing else, with the methods that they are given of it.

        Of what is itself to be called the method is __call__.
        """
        found: dict[str, set[str]] = {}
        for a, b in self._handed:
            name, method = (a, b) if a else (b, "__call__")
            if name not in self._loaded:
                found.setdefault(name, set()).add(method)
        return found

    def covers(self, code: CodeType) -> bool:
        """Does the code count: did it run, or may it?"""
        return id(code) in self.codes
