"""observe: a run of the function under a profile hook, which sees the code that runs and the C functions it calls.

What the reference of an op does is not looked at: it is what the op means, whatever it calls or imports. Nor is what
is run `outside`, nor what the library does by itself while it has the watch paused.
Events of one thread are seen, calls made by C code (`map(f, xs)`, `a + b`) are not: what C code may call is judged by
the walk. A profile function that was there before goes on getting every event.
"""
from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import field, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from numpy._core import umath

from codegen.ir import references
from codegen.ir.structs import struct
from tracegrad.aborts import Abort, Aborted
from tracegrad.outside import PAUSES, outside
from tracegrad.purity.bytecode import LEAVING
from tracegrad.purity.code_facts import facts_of
from tracegrad.purity.declared_pure import is_of_module, is_pure_function
from tracegrad.purity.instances import codes_of
from tracegrad.purity.library import Library, Trust
from tracegrad.purity.prediction import Prediction
from tracegrad.purity.type_questions import asks_for_types
from tracegrad.source_lines import first_line, line_of, user_frame

MOST_REFUSALS = 20
OUTSIDE = outside.__code__
UNWATCHED = (os.path.dirname(references.__file__) + os.sep,
             *(str(Path(__file__).parents[1] / name) for name in ("returned.py", "compared.py")))
"""Where code is that means nothing to the run: references, and what looks at the bytecode of the function itself."""
ERROR_STATE = vars(umath).get("_extobj_contextvar")     # where NumPy keeps what np.errstate sets
SUPPORTED = ((3, 11), (3, 12), (3, 13))


def supported() -> str | None:
    """A sentence that says why runs cannot be observed here, or None."""
    if sys.implementation.name != "cpython":
        return f"runs are observed on CPython, and this is {sys.implementation.name}"
    if sys.version_info[:2] not in SUPPORTED:
        versions = ", ".join(f"{major}.{minor}" for major, minor in SUPPORTED)
        return f"runs are observed on CPython {versions}, and this is {sys.version_info[0]}.{sys.version_info[1]}"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return "runs are observed on builds of CPython with the global interpreter lock"
    return None


@struct(frozen=False, eq=False)
class Observation:
    """A run: its result or its error, the code that ran by id (that of CORE and NUMPY left out), and what it did that
    is not known to be pure."""

    result: Any = None
    error: Exception | None = None
    codes: dict[int, CodeType] = field(default_factory=dict)
    unpredicted: list[Aborted] = field(default_factory=list)
    refusals: list[Aborted] = field(default_factory=list)
    left_by_error: bool = False         # was any frame left by an exception?
    computed: bool = False              # was any attribute of something read by a name that is computed, unpredicted?
    caught: bool = False                # was any given to an __exit__, which can swallow it?
    handing: dict[int, CodeType] = field(default_factory=dict)      # code that gave functions to callbacks, by id
    held_cells: list[Any] = field(default_factory=list)     # variables that they share with the code that ran
    surprised: Callable[[], None] | None = None     # called before code runs that nothing is known of

    def kept(self) -> Observation:
        """What is needed of it to watch other runs: what it entered, not what it gave."""
        return replace(self, result=None, error=None, unpredicted=[], refusals=[], surprised=None)

    def include(self, other: Observation) -> None:
        """Count what another run of the function entered as seen in this one."""
        self.codes |= other.codes
        self.left_by_error |= other.left_by_error
        self.caught |= other.caught
        self.computed |= other.computed
        self.handing |= other.handing
        self.held_cells += other.held_cells

    def refuse(self, reason: Abort, detail: str, line: str | None = None) -> None:
        """Note why the run cannot be replayed."""
        if self.surprised is not None:
            self.surprised()
        aborted = Aborted(reason, detail, line)
        if len(self.refusals) < MOST_REFUSALS and aborted not in self.refusals:
            self.refusals.append(aborted)


def observe(prediction: Prediction, call: Callable[[], Any],
            surprised: Callable[[], None] | None = None, substituted: bool = False) -> Observation:
    """Run `call()` and see what it does. An Exception it raises is caught and kept in `error`.

    `surprised` is called before code runs that was not predicted, or is not known to be pure; where code runs over a
    `substituted` namespace, also before other code that asks for types.
    """
    seen = Observation(surprised=surprised)
    before: Any = sys.getprofile()
    profiler = before if before is not None and not callable(before) else None      # one written in C
    if profiler is not None:
        profiler.disable()
        before = None
    own: Any = getattr(call, "__code__", None)
    seen.codes[id(own)] = own
    hook: Any = _hook(seen, prediction, before, substituted)
    hook.may_pause = PAUSES and before is None
    thresholds = gc.get_threshold()     # a collection would run finalizers of others in the middle of the run
    gc.set_threshold(0, *thresholds[1:])
    sys.setprofile(hook)
    try:
        seen.result = call()
    except Exception as error:  # noqa: BLE001 - whatever the user's code raises is the run's outcome
        seen.error = error
    finally:
        if sys.getprofile() is not hook:        # it could not be called: the stack was too deep
            seen.refuse(Abort.UNSEEN_CODE, "what ran after the recursion limit was met")
        sys.setprofile(before)
        if gc.get_threshold() == (0, *thresholds[1:]):
            gc.set_threshold(*thresholds)
        if profiler is not None:
            profiler.enable()
    del seen.codes[id(own)]
    seen.surprised = None
    _conclude(seen, prediction)
    return seen


def _hook(seen: Observation, prediction: Prediction, before: Any,
          substituted: bool) -> Callable[[FrameType, str, Any], None]:
    codes, library = seen.codes, prediction.library
    trusted: dict[int, CodeType] = {}                   # code of the library that ran
    core = set[int]()                                   # the ids of that of CORE
    judged: dict[Any, tuple[bool, Any]] = {}            # functions and codes are kept, so that ids stay theirs
    on_self: set[int] = set()                           # code that may read any attribute of its first argument
    unpredicted: set[int] = set()                       # code that nothing is known of
    asking: set[int] = set()                            # code that asks for types and may run over another namespace
    uneventful: set[int] = set()                        # code that was entered, and is entered again like any other
    reference: FrameType | None = None                  # of an op, running; or what runs outside

    def hook(frame: FrameType, event: str, arg: Any) -> None:
        nonlocal reference
        if before is not None:
            before(frame, event, arg)
        if event == "c_return":                         # a quarter of all events; nothing below looks at it
            return
        if reference is not None:                       # what it calls, imports included, is what the op means
            if frame is reference and event == "return":
                reference = None
            return
        key = id(frame.f_code)
        if event == "call":
            if key in uneventful:
                return
            if frame.f_code.co_filename.startswith(UNWATCHED) or frame.f_code is OUTSIDE:
                reference = frame
                return
            if key not in codes and key not in trusted:
                enter(frame)
            if key in on_self:
                look_at_self(frame)
            if key in unpredicted and seen.surprised is not None:
                seen.surprised()
            if key in asking and type(frame.f_globals) is dict:
                seen.refuse(Abort.NOT_RECORDED, f"{frame.f_code.co_qualname} asks for types", first_line(frame.f_code))
            if frame.f_code.co_name == "__exit__" and any(
                    issubclass(type(v), BaseException) for v in arguments(frame)):
                seen.caught = True
            if (key in codes or key in trusted) and not (
                    key in on_self or key in unpredicted or key in asking or frame.f_code.co_name == "__exit__"):
                uneventful.add(key)
        elif event == "return":
            if arg is None and key in codes and frame.f_code.co_code[frame.f_lasti] not in LEAVING:
                seen.left_by_error = True
        elif event == "c_call" and key not in core:
            name = _identity(arg)
            verdict = judged.get(name)
            if verdict is None:
                verdict = judged[name] = is_pure_function(arg), arg if type(name) is int else None
            if not verdict[0] and not _is_trusted(library, frame, arg):
                seen.refuse(Abort.UNKNOWN_CALL, _name(arg), line_of(user_frame(frame)))

    def enter(frame: FrameType) -> None:
        code = frame.f_code
        own = library.trust(code)
        if own in (Trust.CORE, Trust.NUMPY):
            trusted[id(code)] = code
            if own is Trust.CORE:
                core.add(id(code))
        elif library.trust_frame(frame) not in (Trust.CORE, Trust.NUMPY):       # asked anew for what is lent
            codes[id(code)] = code
            if substituted and asks_for_types(code):
                asking.add(id(code))
            if facts_of(code).computed_on_self and not prediction.mentions.computed:
                on_self.add(id(code))
            if own is None and id(code) not in prediction.codes:
                user = user_frame(frame)
                line = first_line(code) if user is frame else line_of(user)
                seen.unpredicted.append(Aborted(Abort.UNSEEN_CODE, code.co_qualname, line))
                unpredicted.add(id(code))

    def look_at_self(frame: FrameType) -> None:
        """Its first argument is expected to be of a class that has it as a method: of others few attributes count."""
        code = frame.f_code
        owner: Any = frame.f_locals.get(code.co_varnames[0])
        cls: type = owner if issubclass(type(owner), type) else type(owner)
        if id(code) in codes_of(prediction.mentions, cls):
            return
        seen.computed = True
        if library.trust(code) is None:
            what = f"{code.co_qualname} reads a {type(owner).__qualname__} by names that are computed"
            seen.refuse(Abort.HIDDEN_STATE, what, first_line(code))

    return hook


def arguments(frame: FrameType) -> Iterator[Any]:
    """What a frame that is being entered was given."""
    for value in tuple(frame.f_locals.values()):
        yield from value if type(value) is tuple else (value,)


def _identity(callee: Any) -> Any:
    owner = callee.__self__
    if is_of_module(callee):
        return id(callee)
    return type(owner), owner if isinstance(owner, type) else None, callee.__name__


def _is_trusted(library: Library, frame: FrameType, callee: Any) -> bool:
    """May the code of this frame call it all the same?"""
    if callee is sys.setprofile and frame.f_code is observe.__code__:
        return True
    trust = library.trust_frame(frame)
    return trust is Trust.CORE or trust is Trust.NUMPY and ERROR_STATE is not None and callee.__self__ is ERROR_STATE


def _name(callee: Any) -> str:
    owner = callee.__self__
    place = callee.__module__ if is_of_module(callee) else None
    return f"{place}.{callee.__qualname__}" if place else f"{callee.__qualname__} of a {type(owner).__name__}"


def _conclude(seen: Observation, prediction: Prediction) -> None:
    if seen.error is not None:
        seen.refuse(Abort.RAISED, type(seen.error).__name__)
    for aborted in seen.unpredicted:
        seen.refuse(aborted.reason, aborted.detail, aborted.line)
    for (name, value), setting in zip(prediction.settings, prediction.library.settings):
        if setting.read() != value:
            seen.refuse(Abort.EFFECT, f"it changed {name}")
