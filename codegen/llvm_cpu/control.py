"""control: the words of a program's blocks in the order in which control goes on, and of the ways between them.

    Branch(value, then, else)               branch, slot, word of then, word of else
    Switch(value, cases, default)           switch, slot, kind, cases, word of default, number, word, number, word, ...
    Return, exits                           stop, result

1. Words by which control goes on are counted from the start of the program. A block that one jump leads to follows it.
2. What a block does is written by those who know its sizes (encode), or that they are yet to come (resizing).
"""
from __future__ import annotations

from abc import ABC, abstractmethod

from codegen.ir.dims import Size
from codegen.ir.program import Branch, Exit, Goto, Jump, Return, Switch, Target, targets_of
from codegen.ir.types import DTYPES
from codegen.llvm_cpu.driver import BRANCH, HEADER_WORDS, SIGNED_KIND, STOP, SWITCH
from codegen.schedule.plan import Input, Output, Place, PlannedBlock, ProgramPlan


class BlockWriter(ABC):
    """`words`: those of the program, its header yet to come. `arguments`: how many slots those of a run take."""

    def __init__(self, plan: ProgramPlan):
        self.plan, self.arguments = plan, len(plan.inputs) + len(plan.slots)
        self.words: list[Size] = [0] * HEADER_WORDS
        self._starts: dict[Target, int] = {}                # where in the program a target's words are
        self._open: list[tuple[int, Target]] = []           # words that are to say where a target's are

    def write(self) -> None:
        """Write every block, one that another jumps to right after that, and the exits at the end."""
        ends = {number: end for end, number in enumerate(
            number for number, block in enumerate(self.plan.blocks) if isinstance(block.terminator, Return))}
        pending: list[Target] = [Goto(0, ())]
        while pending:
            target = pending.pop()
            if target in self._starts:
                continue
            self._starts[target] = len(self.words)
            if isinstance(target, Exit):
                self._stop(target.number)
                continue
            block = self.plan.blocks[target.block]
            self._steps(target.block, block)
            self._terminator(block)
            if target.block in ends:
                self._stop(-1 - ends[target.block])
            pending += reversed(targets_of(block.terminator))
        for word, target in self._open:
            self.words[word] = self._starts[target]

    @abstractmethod
    def _steps(self, number: int, block: PlannedBlock) -> None:
        """Write what a block does before control goes on."""

    def _slot(self, place: Place) -> int:
        """The slot of a place; here of those that are arguments."""
        match place:
            case Input(index):
                return index
            case Output(index):
                return len(self.plan.inputs) + index
            case _:
                raise ValueError(f"{place} is in another program")

    def _terminator(self, block: PlannedBlock) -> None:
        match block.terminator:
            case Branch(_, then, else_):
                self.words += [BRANCH, self._decider(block)]
                self._towards(then)
                self._towards(else_)
            case Switch(_, cases, default):
                kind = _number_kind(block.decider[1]) if block.decider else 0
                self.words += [SWITCH, self._decider(block), kind, len(cases)]
                self._towards(default)
                for number, target in cases:
                    self.words.append((number + (1 << 63)) % (1 << 64) - (1 << 63))
                    self._towards(target)
            case Jump(Exit(number)):
                self._stop(number)
            case Jump() | Return():
                pass                                # what follows is where control goes on

    def _stop(self, result: int) -> None:
        self.words += [STOP, result]

    def _towards(self, target: Target) -> None:
        self._open.append((len(self.words), target))
        self.words.append(0)

    def _decider(self, block: PlannedBlock) -> int:
        assert block.decider is not None
        return self._slot(block.decider[0])


def _number_kind(dtype: str) -> int:
    found = DTYPES[dtype]
    return found.itemsize.bit_length() - 1 + SIGNED_KIND * (found.kind == "i")
