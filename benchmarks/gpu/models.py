"""Models of training steps, written once for tracegrad and PyTorch, whose names they share."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from zlib import crc32

import numpy as np


class Transformer(NamedTuple):
    """`vocabulary`: None for a model of vectors."""

    layers: int
    width: int
    heads: int
    length: int
    batch: int
    vocabulary: int | None = None


class MLP(NamedTuple):
    sizes: tuple[int, ...]
    batch: int


Model = Transformer | MLP

MODELS: dict[str, Model] = {
    "MLP": MLP((1024, 4096, 4096, 10), 1024),
    "transformer": Transformer(2, 768, 12, 512, 8),
    "GPT-2 small": Transformer(12, 768, 12, 512, 4, 50304),
}


def make(model: Model, nn: Any) -> Any:
    """The model in tracegrad's nn or PyTorch's: called with inputs and targets it gives the loss."""
    F = nn.functional

    class Block(nn.Module):
        def __init__(self, width: int, heads: int):
            super().__init__()
            self.heads = heads
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x):
            batch, length, width = x.shape
            parts = self.qkv(self.norm_1(x)).reshape(batch, length, 3, self.heads, width // self.heads)
            q, k, v = parts.permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(y.swapaxes(1, 2).reshape(batch, length, width))
            return x + self.down(F.gelu(self.up(self.norm_2(x))))

    class Vectors(nn.Module):
        def __init__(self, given: Transformer):
            super().__init__()
            self.blocks = nn.Sequential(*(Block(given.width, given.heads) for _ in range(given.layers)))

        def forward(self, x, y):
            return F.mse_loss(self.blocks(x), y)

    class Language(nn.Module):
        def __init__(self, given: Transformer):
            super().__init__()
            # its weight is the table of tokens, too; an Embedding would draw 40 million normal numbers for nothing
            self.tokens = nn.Linear(given.width, given.vocabulary, bias=False)
            self.places = nn.Embedding(given.length, given.width)
            self.blocks = nn.Sequential(*(Block(given.width, given.heads) for _ in range(given.layers)))
            self.norm = nn.LayerNorm(given.width)

        def forward(self, x, y):
            h = self.norm(self.blocks(F.embedding(x, self.tokens.weight) + self.places.weight))
            logits = self.tokens(h)
            return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), y.reshape(-1))

    class Classifier(nn.Module):
        def __init__(self, given: MLP):
            super().__init__()
            layers: list[Any] = []
            for k, n in zip(given.sizes, given.sizes[1:]):
                layers += [nn.Linear(k, n), nn.ReLU()]
            self.layers = nn.Sequential(*layers[:-1])

        def forward(self, x, y):
            return F.cross_entropy(self.layers(x), y)

    if isinstance(model, MLP):
        return Classifier(model)
    return Vectors(model) if model.vocabulary is None else Language(model)


def data(model: Model) -> tuple[np.ndarray, np.ndarray]:
    """Inputs and targets."""
    rng = np.random.default_rng(0)
    if isinstance(model, MLP):
        x = rng.standard_normal((model.batch, model.sizes[0]), dtype=np.float32)
        return x, rng.integers(0, model.sizes[-1], model.batch)
    shape = (model.batch, model.length)
    if model.vocabulary is not None:
        tokens = rng.integers(0, model.vocabulary, shape)
        return tokens, np.roll(tokens, -1, 1)
    x, y = rng.standard_normal((2, *shape, model.width), dtype=np.float32)
    return x, y


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """The same for everyone, by name: as GPT-2 begins, with a normal distribution of 0.02."""
    found: dict[str, np.ndarray] = {}
    for name, shape in shapes.items():
        if "norm" in name and name.endswith("weight"):
            found[name] = np.ones(shape, np.float32)
        else:
            found[name] = np.random.default_rng(crc32(name.encode())).standard_normal(shape, np.float32)
            found[name] *= np.float32(0.02)
    return found


def weights_of(net: Any) -> dict[str, np.ndarray]:
    """Those for a model that was made."""
    return weights({name: tuple(value.shape) for name, value in net.state_dict().items()})


Step = Callable[[], Any]
"""One training step: gives the loss, on the GPU."""


def tracegrad_step(model: Model, half: bool, device: str = "cuda") -> Step:
    import tracegrad as tg
    from tracegrad import nn
    net = make(model, nn)
    net.load_state_dict(weights_of(net))
    net.to(device)
    optimizer = tg.optim.AdamW(net.parameters(), lr=1e-4)
    x, y = (tg.tensor(a, device=device) for a in data(model))

    @tg.trace(strict=True)
    def step(x, y):
        optimizer.zero_grad()
        with tg.autocast(device, dtype=tg.bfloat16, enabled=half):
            loss = net(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return lambda: step(x, y)


def torch_step(model: Model, half: bool, device: str = "cuda") -> Step:
    import torch
    net = make(model, torch.nn)
    net.load_state_dict({name: torch.from_numpy(value) for name, value in weights_of(net).items()})
    net.to(device)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    x, y = (torch.from_numpy(a).to(device) for a in data(model))
    loss_of = torch.compile(net)

    def step():
        optimizer.zero_grad()
        with torch.autocast(device, torch.bfloat16, enabled=half):
            loss = loss_of(x, y)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
