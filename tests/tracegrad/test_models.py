"""Small models of the kinds people build: a traced training step is one path, replayed, and what it is eagerly."""
from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import tracegrad as tg
from tracegrad import nn
from tracegrad.nn import functional as F


class Dense(nn.Module):
    """Every layer sees what all before it made."""

    def __init__(self) -> None:
        self.layers = nn.ModuleList([nn.Conv2d(n, 4, 3, padding=1) for n in (1, 5, 9)])
        self.drop, self.out = nn.Dropout2d(0.2), nn.Linear(13, 3)

    def forward(self, x: Any) -> Any:
        for layer in self.layers:
            x = tg.concat([x, self.drop(F.relu(layer(x)))], axis=1)
        return self.out(F.adaptive_avg_pool2d(x, 1).flatten(1))


class UNet(nn.Module):
    """Down, up again, and across."""

    def __init__(self) -> None:
        self.first, self.down = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 8, 3, stride=2, padding=1)
        self.norm, self.up = nn.GroupNorm(2, 8), nn.ConvTranspose2d(8, 4, 2, stride=2)
        self.out = nn.Conv2d(8, 1, 1)

    def forward(self, x: Any) -> Any:
        wide = F.silu(self.first(x))
        deep = F.silu(self.norm(self.down(wide)))
        back = self.up(deep) + F.interpolate(deep, scale_factor=2, mode="bilinear")[:, :4]
        return self.out(tg.concat([wide, back], axis=1)).flatten(1)


class Variational(nn.Module):
    """An autoencoder that draws its code."""

    def __init__(self) -> None:
        self.encode, self.decode = nn.Linear(16, 8), nn.Linear(4, 16)

    def forward(self, x: Any) -> Any:
        mean, log_var = self.encode(x.flatten(1)).chunk(2, axis=1)
        code = mean + tg.randn_like(mean) * (0.5 * log_var).exp()
        divergence = -0.5 * (1 + log_var - mean * mean - log_var.exp()).sum(axis=1, keepdims=True)
        return tg.concat([self.decode(code), divergence], axis=1)


class Translator(nn.Module):
    """A recurrent encoder, and a decoder that looks back at it and reads its own guesses."""

    def __init__(self) -> None:
        self.words = nn.Embedding(10, 6)
        self.encoder = nn.GRU(6, 8, bidirectional=True, batch_first=True)
        self.decoder, self.query, self.out = nn.LSTMCell(6, 8), nn.Linear(8, 16), nn.Linear(24, 5)

    def forward(self, x: Any) -> Any:
        ids = (x.flatten(1)[:, :6] * 3).abs().long() % 10
        seen, _ = self.encoder(self.words(ids))
        state, word, scores = None, self.words(ids[:, 0]), []
        for _ in range(3):
            state = self.decoder(word, state)
            weights = F.softmax((seen @ self.query(state[0]).unsqueeze(-1)).squeeze(-1), axis=1)
            scores.append(self.out(tg.concat([state[0], (weights.unsqueeze(-1) * seen).sum(axis=1)], axis=1)))
            word = self.words(scores[-1].argmax(axis=1))
        return tg.stack(scores, axis=1).flatten(1)


class Vision(nn.Module):
    """A transformer on patches of an image."""

    def __init__(self) -> None:
        self.patches = nn.Conv2d(1, 8, 2, stride=2)
        self.whole, self.places = nn.Parameter(tg.randn(1, 1, 8)), nn.Parameter(tg.randn(1, 5, 8) * 0.02)
        layer = nn.TransformerEncoderLayer(8, 2, 16, 0.1, activation="gelu", batch_first=True, norm_first=True)
        self.layers, self.out = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x: Any) -> Any:
        y = self.patches(x).flatten(2).swapaxes(1, 2)
        y = tg.concat([self.whole.expand(x.shape[0], 1, 8), y], axis=1) + self.places
        return self.out(self.layers(y)[:, 0])


class Residual(nn.Module):
    """Blocks of two convolutions around which the input passes."""

    def __init__(self) -> None:
        self.first, self.out = nn.Conv2d(1, 4, 1), nn.Linear(4, 3)
        self.convolutions = nn.ModuleList([nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(4)])
        self.norms = nn.ModuleList([nn.BatchNorm2d(4) for _ in range(4)])

    def forward(self, x: Any) -> Any:
        x = F.relu(self.first(x))
        for k in (0, 2):
            inner = F.relu(self.norms[k](self.convolutions[k](x)))
            x = F.relu(x + self.norms[k + 1](self.convolutions[k + 1](inner)))
        return self.out(x.mean(axis=(2, 3)))


@pytest.mark.parametrize("kind", [Dense, UNet, Variational, Translator, Vision, Residual], ids=lambda k: k.__name__)
def test_models_train_traced_as_they_do_eagerly(kind: type[nn.Module]) -> None:
    paths = []
    for traced in (True, False):
        tg.manual_seed(0)
        model = kind()
        optimizer = tg.optim.AdamW(model.parameters(), lr=0.01)

        def step(x: Any, model: Any = model, optimizer: Any = optimizer) -> Any:
            optimizer.zero_grad()
            y = model(x)
            loss = (y * y).mean() + F.smooth_l1_loss(y, tg.ones_like(y))
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            return loss

        run = tg.trace(step, strict=True) if traced else step
        data = tg.Generator(1)
        paths.append([run(tg.randn(3, 1, 4, 4, generator=data)).item() for _ in range(4)])
        assert not traced or (run.stats.recordings, run.stats.replays) == (1, 3), run.explain()
    np.testing.assert_allclose(*paths, rtol=1e-4)
