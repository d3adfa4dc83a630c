"""What a newcomer gets for a mistake: the kind of error, and a sentence with the line, the operation and the remedy."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import tracegrad as tg

nn = tg.nn
LINE = r"^test_errors\.py:\d+: "
MISTAKES: list[tuple[Callable[[], Any], type[Exception], str]] = [
    (lambda: tg.zeros(2, -1), ValueError, LINE + r"zeros: the shape \[2, -1\] has a negative size"),
    (lambda: tg.full((-2,), 1.0), ValueError, LINE + "full: the shape"),
    (lambda: tg.randn(-1), ValueError, LINE + "randn: the shape"),
    (lambda: tg.rand(2, -1), ValueError, LINE + "rand: the shape"),
    (lambda: tg.randint(0, 5, (-1,)), ValueError, LINE + "randint: the shape"),
    (lambda: tg.randperm(-1), ValueError, LINE + "randperm: the shape"),
    (lambda: tg.ones(3).sum("rows"), TypeError, LINE + "axis='rows': an axis is an int"),
    (lambda: tg.softmax(tg.ones(3), axis=1.5), TypeError, LINE + "axis=1.5: an axis is an int"),
    (lambda: tg.ones(3)[::0], ValueError, LINE + "indexing: the step of a slice is 0"),
    (lambda: tg.take_along_axis(tg.ones(3, 2), tg.tensor([0]), axis=0), TypeError, LINE + "take_along_axis: .* rank"),
    (lambda: tg.manual_seed("a"), TypeError, LINE + "manual_seed: 'a' is not a seed: a seed is an int"),
    (lambda: tg.trace(lambda x: x, target="gpu"), ValueError, "no target 'gpu'; the targets are auto, llvm_cpu"),
    (lambda: tg.optim.Adam(tg.ones(3)), TypeError, "Adam takes a list of Tensors or of groups, not a Tensor"),
    (lambda: nn.Parameter(3), TypeError, "Parameter takes a Tensor, not int"),        # type: ignore[arg-type]
    (lambda: nn.Softmax(dim=1), TypeError, LINE + "Softmax: there is no argument dim=: write axis="),
    (lambda: nn.GLU(dim=1), TypeError, LINE + "GLU: there is no argument dim=: write axis="),
    (lambda: nn.Flatten(start_dim=1), TypeError, LINE + "Flatten: there is no argument start_dim=: write start_axis="),
    (lambda: nn.Flatten()(tg.ones(())), ValueError, LINE + "Flatten: a 0-d tensor"),
    (lambda: nn.Conv2d(3, 4, 3, padding="full"), ValueError, 'Conv2d: padding is a number, "same" or "valid"'),
    (lambda: nn.BatchNorm1d(3)(tg.ones(2, 4)), ValueError, LINE + r"BatchNorm1d: x of shape \(2, 4\) has 4 channels"),
    (lambda: nn.BatchNorm2d(3)(tg.ones(2, 3)), ValueError, LINE + "BatchNorm2d: x of shape .* does not have 4 axes"),
    (lambda: nn.LSTM(3, 4)(tg.ones(2, 5)), ValueError, LINE + "LSTM: x of shape"),
]


@pytest.mark.parametrize(("mistake", "kind", "sentence"), MISTAKES, ids=[sentence for _, _, sentence in MISTAKES])
def test_mistakes(mistake: Callable[[], Any], kind: type[Exception], sentence: str) -> None:
    with pytest.raises(kind, match=sentence):
        mistake()
    with pytest.raises(kind, match=sentence):
        tg.trace(mistake)()


def test_a_broadcast_that_is_written_to() -> None:
    def f(x: tg.Tensor) -> tg.Tensor:
        return x.expand(2, 2).add_(1)
    for function in (f, tg.trace(f)):
        with pytest.raises(ValueError, match=LINE + r"in place: .* is a broadcast or a read-only array; write"):
            function(tg.ones(2))
