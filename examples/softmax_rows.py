"""Softmax of rows: what a traced function says about itself.

    python -m examples.softmax_rows
"""
from __future__ import annotations

import tracegrad as tg


@tg.trace
def softmax(x):
    e = tg.exp(x - x.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def main() -> tg.Tensor:
    """Returns the softmax of the last rows."""
    tg.manual_seed(0)
    for _ in range(3):
        rows = tg.randn(512, 128)
        y = softmax(rows)
    print(softmax.explain())
    print(softmax.verify(rows))
    return y


if __name__ == "__main__":
    main()
