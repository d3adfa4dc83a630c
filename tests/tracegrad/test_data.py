"""data: batches cover the data once, in order or in a seeded random order."""
from __future__ import annotations

import numpy as np
import pytest

import tracegrad as tg
from tracegrad.data import DataLoader, TensorDataset

X, Y = np.arange(20, dtype=np.float32).reshape(10, 2), np.arange(10)


def numbers(loader: DataLoader) -> list[list[int]]:
    return [y.tolist() for _, y in loader]


def test_batches_in_order():
    loader = DataLoader((X, Y), batch_size=4)
    batches = list(loader)
    assert len(loader) == len(batches) == 3
    assert [x.shape for x, _ in batches] == [(4, 2), (4, 2), (2, 2)]
    assert all(isinstance(t, tg.Tensor) for batch in batches for t in batch)
    assert np.array_equal(np.concatenate([x.numpy() for x, _ in batches]), X)
    assert batches[0][0].dtype == np.float32 and batches[0][1].dtype == np.int64


def test_the_last_batch_can_be_left_out():
    loader = DataLoader((X, Y), batch_size=4, drop_last=True)
    assert len(loader) == 2 and numbers(loader) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert numbers(DataLoader((X, Y), batch_size=20, drop_last=True)) == []


def test_shuffling_keeps_samples_together_and_changes_with_each_pass():
    loader = DataLoader((X, Y), batch_size=3, shuffle=True, seed=1)
    first, second = list(loader), numbers(loader)
    for x, y in first:
        assert np.array_equal(x.numpy(), X[y.numpy()])
    flat = sum((y.tolist() for _, y in first), [])
    assert sorted(flat) == list(range(10)) and flat != list(range(10)) and flat != sum(second, [])


def test_the_order_follows_the_seed_the_generator_or_the_seed_of_all():
    def order(**options):
        return numbers(DataLoader((X, Y), batch_size=5, shuffle=True, **options))

    assert order(seed=1) == order(seed=1) != order(seed=2)
    assert order(generator=tg.Generator(7)) == order(generator=tg.Generator(7)) == order(seed=7)
    tg.manual_seed(5)
    first = order()
    tg.manual_seed(5)
    assert order() == first


def test_every_order_occurs():
    loader = DataLoader(np.arange(3), batch_size=3, shuffle=True, seed=0)
    seen = {tuple(y.tolist()) for _ in range(100) for (y,) in loader}
    assert len(seen) == 6


def test_batches_have_storage_of_their_own():
    data = np.zeros((4, 1), dtype=np.float32)
    (batch,), = DataLoader(data, batch_size=4)
    data[:] = 1
    assert batch.sum().item() == 0


def test_datasets_by_item():
    class Squares:
        def __len__(self):
            return 5

        def __getitem__(self, k):
            if not 0 <= k < 5:
                raise IndexError(k)
            return {"x": np.float32(k), "pair": (tg.tensor([float(k)]), k * k)}

    batch = next(iter(DataLoader(Squares(), batch_size=3)))
    assert batch["x"].tolist() == [0, 1, 2] and batch["x"].dtype == np.float32
    assert batch["pair"][0].shape == (3, 1) and batch["pair"][1].tolist() == [0, 1, 4]
    assert list(DataLoader([1, 2, 3], batch_size=2, collate_fn=sum)) == [3, 3]


def test_tensor_dataset():
    dataset = TensorDataset(X, Y)
    assert len(dataset) == 10
    x, y = dataset[3]
    assert x.tolist() == [6, 7] and y.item() == 3


@pytest.mark.parametrize(("make", "message"), [
    (lambda: TensorDataset(), "at least one"),
    (lambda: TensorDataset(X, Y[:3]), "one common length"),
    (lambda: TensorDataset(np.float32(1)), "one common length"),
    (lambda: DataLoader(X, batch_size=0), "batch_size = 0"),
    (lambda: DataLoader(X, generator=tg.Generator(0), seed=0), "not both"),
])
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
