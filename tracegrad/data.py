"""data: batches of Tensors from arrays or from anything with a length and items.

    for x, y in DataLoader((images, labels), batch_size=64, shuffle=True, seed=0):
        step(x, y)
"""
from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from tracegrad.conversions import pin_memory
from tracegrad.creation import asarray, tensor
from tracegrad.devices import CPU
from tracegrad.movement import stack
from tracegrad.pytrees import tree_map
from tracegrad.random import Generator, randperm
from tracegrad.tensors import Tensor


class Dataset(Protocol):
    """What a DataLoader reads: samples by number."""

    def __len__(self) -> int: ...
    def __getitem__(self, k: int, /) -> Any: ...


class TensorDataset:
    """Tensors or arrays of equal length; sample k is the tuple of their k-th items."""

    def __init__(self, *arrays: Any):
        if not arrays:
            raise ValueError("TensorDataset needs at least one array")
        self.tensors = tuple(asarray(a) for a in arrays)
        if any(t.ndim == 0 for t in self.tensors) or len({t.shape[0] for t in self.tensors}) != 1:
            raise ValueError(f"arrays of shapes {[t.shape for t in self.tensors]} do not have one common length")

    def __len__(self) -> int:
        return self.tensors[0].shape[0]

    def __getitem__(self, k: Any) -> tuple[Tensor, ...]:
        return tuple(t[k] for t in self.tensors)

    def batch(self, numbers: np.ndarray) -> tuple[Tensor, ...]:
        """The samples of these numbers, stacked, in storage of their own."""
        return tuple(tensor(t.array[numbers]) if t.device == CPU else t[numbers] for t in self.tensors)


class DataLoader:
    """Iterates over batches of a dataset, or of a tuple of arrays, or of one array.

    Each iteration is one pass over the data, with `shuffle` in a new order: that of `generator`, or of a Generator
    of this loader made from `seed`, or of tracegrad's own. The last batch is smaller, or left out with `drop_last`.
    `collate_fn` makes a batch of a list of samples; without it the samples are stacked, through tuples and dicts.
    `pin_memory`: the Tensors of batches are in pinned memory, from which they go to a GPU without waiting.
    """

    def __init__(
        self,
        dataset: Dataset | Sequence[Any] | Any,
        batch_size: int = 1,
        shuffle: bool = False,
        drop_last: bool = False,
        generator: Generator | None = None,
        seed: int | None = None,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        pin_memory: bool = False,
    ):
        if batch_size < 1:
            raise ValueError(f"batch_size = {batch_size} is not positive")
        if generator is not None and seed is not None:
            raise ValueError("give a generator or a seed, not both")
        if isinstance(dataset, tuple):
            dataset = TensorDataset(*dataset)
        elif isinstance(dataset, np.ndarray | Tensor):
            dataset = TensorDataset(dataset)
        self.dataset: Any = dataset
        self.batch_size, self.shuffle, self.drop_last = batch_size, shuffle, drop_last
        self.generator = generator if seed is None else Generator(seed)
        self.collate_fn, self.pin_memory = collate_fn, pin_memory

    def __len__(self) -> int:
        """The number of batches in one pass."""
        n = len(self.dataset)
        return n // self.batch_size if self.drop_last else -(-n // self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        order = self._order()
        for k in range(len(self)):
            batch = self._batch(order[k * self.batch_size:(k + 1) * self.batch_size])
            yield pinned(batch) if self.pin_memory else batch

    def _order(self) -> np.ndarray:
        n = len(self.dataset)
        return randperm(n, generator=self.generator).array if self.shuffle else np.arange(n)

    def _batch(self, numbers: np.ndarray) -> Any:
        if isinstance(self.dataset, TensorDataset) and self.collate_fn is None:
            return self.dataset.batch(numbers)
        samples = [self.dataset[k] for k in numbers.tolist()]
        return stack_samples(samples) if self.collate_fn is None else self.collate_fn(samples)


def pinned(batch: Any) -> Any:
    """A batch with its Tensors in pinned memory."""
    return tree_map(lambda leaf: pin_memory(leaf) if isinstance(leaf, Tensor) else leaf, batch)


def stack_samples(samples: list[Any]) -> Any:
    """One batch of samples that are built alike: tuples and dicts of numbers, arrays and Tensors."""
    first = samples[0]
    if isinstance(first, tuple | list):
        return tuple(stack_samples(list(column)) for column in zip(*samples, strict=True))
    if isinstance(first, Mapping):
        return {key: stack_samples([sample[key] for sample in samples]) for key in first}
    if isinstance(first, Tensor):
        return stack(samples) if first.device != CPU else tensor(np.stack([sample.array for sample in samples]))
    return tensor(np.stack(samples) if isinstance(first, np.ndarray | np.generic) else samples)
