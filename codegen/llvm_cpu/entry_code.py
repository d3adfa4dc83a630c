"""EntryCode: LLVM text that reads Python objects, written by calls; and what blocks of the entry have in common.

    code.register(1)              the object that word 1 of the instruction names
    code.need(condition)          go on if it holds, else this root does not fit the call
    code.push(object)             a reference to it is this call's from now on
    code.next(3)                  go on with the instruction three words further

%at is the present instruction, %frame the frame of the call, %top the end of the references that the call holds.
"""
from __future__ import annotations

from collections.abc import Callable

from codegen.llvm_cpu.entry_host import HostOffsets
from codegen.llvm_cpu.objects import Counting, Layout

WORD = 8


class EntryCode:
    """Text that is being written, for a host. Names begin with `prefix`."""

    def __init__(self, layout: Layout, offsets: HostOffsets, prefix: str):
        self.layout, self.offsets, self._prefix = layout, offsets, prefix
        self.lines: list[str] = []
        self.nexts: list[tuple[str, str, str]] = []         # (block, at, top) of each way back to the dispatch
        self.failures: list[str] = []
        self.block = ""
        self._count = 0

    # ---- text -------------------------------------------------------------------------------------------------------

    def let(self, text: str) -> str:
        """A new name for what an instruction gives."""
        self._count += 1
        name = f"%{self._prefix}{self._count}"
        self.lines.append(f"  {name} = {text}")
        return name

    def do(self, text: str) -> None:
        self.lines.append("  " + text)

    def start(self, label: str) -> None:
        """Begin a block."""
        self.lines.append(f"{label}:")
        self.block = label

    def new_label(self) -> str:
        self._count += 1
        return f"{self._prefix}.{self._count}"

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    def branch(self, condition: str, then: str, otherwise: str) -> None:
        self.do(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def need(self, condition: str, otherwise: str = "miss") -> None:
        """Go on here only if the condition holds."""
        on = self.new_label()
        self.branch(condition, on, otherwise)
        self.start(on)

    def unless(self, condition: str, body: Callable[[], None]) -> None:
        """`body` runs where the condition does not hold."""
        off, on = self.new_label(), self.new_label()
        self.branch(condition, on, off)
        self.start(off)
        body()
        self.jump(on)
        self.start(on)

    def for_each(self, count: str, body: Callable[[str], None]) -> None:
        """`body` with each number from 0 to count - 1."""
        before, head, inside, after = self.block, self.new_label(), self.new_label(), self.new_label()
        index, following = f"%{head}.i", f"%{head}.n"
        self.jump(head)
        self.start(head)
        at = len(self.lines)
        self.branch(self.let(f"icmp ult i64 {index}, {count}"), inside, after)
        self.start(inside)
        body(index)
        self.do(f"{following} = add i64 {index}, 1")
        self.lines.insert(at, f"  {index} = phi i64 [ 0, %{before} ], [ {following}, %{self.block} ]")
        self.jump(head)
        self.start(after)

    # ---- memory -----------------------------------------------------------------------------------------------------

    def at(self, base: str, offset: int | str) -> str:
        return base if offset == 0 else self.let(f"getelementptr i8, ptr {base}, i64 {offset}")

    def item_at(self, base: str, index: str) -> str:
        return self.let(f"getelementptr i64, ptr {base}, i64 {index}")

    def load(self, kind: str, base: str, offset: int | str = 0) -> str:
        return self.let(f"load {kind}, ptr {self.at(base, offset)}")

    def store(self, kind: str, value: str, base: str, offset: int | str = 0) -> None:
        self.do(f"store {kind} {value}, ptr {self.at(base, offset)}")

    def word(self, k: int) -> str:
        """Word k of the instruction, as a number."""
        return self.load("i64", "%at", WORD * k)

    def address(self, k: int) -> str:
        """Word k of the instruction, as an address."""
        return self.load("ptr", "%at", WORD * k)

    def register(self, k: int) -> str:
        """The object in the register that word k names."""
        return self.load("ptr", "%frame", self.word(k))

    def words_from(self, k: int) -> str:
        """Where word k of the instruction is."""
        return self.at("%at", WORD * k)

    def register_of(self, words: str, index: str) -> str:
        """The object in the register that a word of some names."""
        return self.load("ptr", "%frame", self.load("i64", self.item_at(words, index)))

    # ---- objects ----------------------------------------------------------------------------------------------------

    def equal(self, kind: str, a: str, b: str) -> str:
        return self.let(f"icmp eq {kind} {a}, {b}")

    def unequal(self, kind: str, a: str, b: str) -> str:
        return self.let(f"icmp ne {kind} {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.let(f"or i1 {a}, {b}")

    def has_type(self, o: str, kind: str) -> str:
        """Is this its class, and no derived one?"""
        return self.equal("ptr", self.load("ptr", o, self.layout.type), kind)

    def call(self, kind: str, function: str, *arguments: str) -> str:
        return self.let(f"call {kind} @{function}({', '.join(arguments)})")

    def call_with(self, function: int, count: int, first: int) -> str:
        """What a Python function gives, null if it raises: by the words that say which, and what it is called with."""
        number, words = self.word(count), self.words_from(first)
        self.for_each(number, lambda index: self.store("ptr", self.register_of(words, index),
                                                       self.item_at("%top", index)))
        return self.call("ptr", "PyObject_Vectorcall", f"ptr {self.register(function)}", "ptr %top", f"i64 {number}",
                         "ptr null")

    def keep(self, o: str, times: int = 1) -> None:
        """One more reference to an object, or so many. One that is immortal is kept once."""
        match self.layout.counting:
            case Counting.PLAIN:
                self.store("i64", self.let(f"add i64 {self.load('i64', o)}, {times}"), o)
            case Counting.IMMORTAL:
                count = self.load("i32", o)
                more = self.let(f"add i32 {count}, 1")
                self.store("i32", self.let(f"select i1 {self.equal('i32', more, '0')}, i32 {count}, i32 {more}"), o)
            case Counting.UNKNOWN:
                for _ in range(times):
                    self.do(f"call void @Py_IncRef(ptr {o})")

    def is_held_once(self, o: str) -> str:
        """Is there one reference to an object? No, where that is not known."""
        match self.layout.counting:
            case Counting.PLAIN:
                return self.equal("i64", self.load("i64", o), "1")
            case Counting.IMMORTAL:
                return self.equal("i32", self.load("i32", o), "1")
            case Counting.UNKNOWN:
                return "false"

    def drop(self, o: str) -> None:
        """One reference less."""
        match self.layout.counting:
            case Counting.PLAIN:
                self._count_down(o)
            case Counting.IMMORTAL:
                self.unless(self.let(f"icmp slt i32 {self.load('i32', o)}, 0"), lambda: self._count_down(o))
            case Counting.UNKNOWN:
                self.do(f"call void @Py_DecRef(ptr {o})")

    def _count_down(self, o: str) -> None:
        left = self.let(f"sub i64 {self.load('i64', o)}, 1")
        self.store("i64", left, o)
        self.unless(self.unequal("i64", left, "0"), lambda: self.do(f"call void @_Py_Dealloc(ptr {o})"))

    # ---- the end of an instruction ----------------------------------------------------------------------------------

    def push_owned(self, o: str, top: str = "%top") -> str:
        """Put a reference that is ours into the next register; the end of the registers after it."""
        self.store("ptr", o, top)
        return self.at(top, WORD)

    def push(self, o: str, top: str = "%top") -> str:
        """Put one more reference into the next register."""
        self.keep(o)
        return self.push_owned(o, top)

    def push_each(self, count: str, item: Callable[[str], str]) -> str:
        """Put `count` references into the next registers: `item` gives the object with a number."""
        def one(index: str) -> None:
            self.push(item(index), self.item_at("%top", index))
        self.for_each(count, one)
        return self.item_at("%top", count)

    def next(self, words: int, top: str = "%top", more: str | None = None) -> None:
        """Go on with the instruction so many words further, and `more`."""
        at = self.at("%at", WORD * words)
        self.go(at if more is None else self.item_at(at, more), top)

    def go(self, at: str, top: str = "%top") -> None:
        """Go on with the instruction at an address."""
        self.nexts.append((self.block, at, top))
        self.jump("dispatch")
