"""Layers: products with weights, dropout, and layers that only rearrange."""
from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from tracegrad.creation import empty
from tracegrad.nn import functional as F
from tracegrad.nn import init
from tracegrad.nn.activations import MayBeInPlace
from tracegrad.nn.modules import Module, Parameter
from tracegrad.operands import refuse_names
from tracegrad.source_lines import at_user_line
from tracegrad.tensors import Tensor


class Linear(Module):
    """x @ weight.T + bias: [..., in_features] -> [..., out_features].

    weight [out_features, in_features] and bias [out_features] are drawn from U(-b, b), b = 1 / sqrt(in_features).
    Without `bias`, self.bias is None.
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True, dtype: Any = None):
        self.in_features, self.out_features = in_features, out_features
        self.weight = Parameter(empty((out_features, in_features), dtype=dtype))
        self.bias = Parameter(empty((out_features,), dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in_features) if self.in_features else 0.0
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Bilinear(Module):
    """x1 weight[k] x2 + bias[k] for each k: [..., in1_features], [..., in2_features] -> [..., out_features]."""

    def __init__(self, in1_features: int, in2_features: int, out_features: int, bias: bool = True, dtype: Any = None):
        self.in1_features, self.in2_features, self.out_features = in1_features, in2_features, out_features
        self.weight = Parameter(empty((out_features, in1_features, in2_features), dtype=dtype))
        self.bias = Parameter(empty((out_features,), dtype=dtype)) if bias else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        bound = 1 / math.sqrt(self.in1_features)
        init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            init.uniform_(self.bias, -bound, bound)

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.bilinear(x1, x2, self.weight, self.bias)

    def extra_repr(self) -> str:
        return (f"in1_features={self.in1_features}, in2_features={self.in2_features}, "
                f"out_features={self.out_features}, bias={self.bias is not None}")


class Embedding(Module):
    """The row of `weight` [num_embeddings, embedding_dim] for each integer: [...] -> [..., embedding_dim].

    Rows are drawn from N(0, 1); the row `padding_idx` is 0 and gets no gradient. See functional.embedding.
    """

    def __init__(self, num_embeddings: int, embedding_dim: int, padding_idx: int | None = None,
                 max_norm: float | None = None, norm_type: float = 2.0, dtype: Any = None):
        if padding_idx is not None and not -num_embeddings <= padding_idx < num_embeddings:
            raise ValueError(f"Embedding: padding_idx {padding_idx} is none of the {num_embeddings} rows")
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = None if padding_idx is None else padding_idx % num_embeddings
        self.max_norm, self.norm_type = max_norm, norm_type
        self.weight = Parameter(empty((num_embeddings, embedding_dim), dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new initial values."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            init.zeros_(self.weight.detach()[self.padding_idx])

    @classmethod
    def from_pretrained(cls, embeddings: Tensor, freeze: bool = True, padding_idx: int | None = None) -> Embedding:
        """An Embedding with these rows, trained further only if not `freeze`."""
        rows, columns = embeddings.shape
        layer = cls(rows, columns, padding_idx, dtype=embeddings.dtype)
        layer.weight = Parameter(embeddings, requires_grad=not freeze)
        return layer

    def forward(self, indices: Tensor) -> Tensor:
        return F.embedding(indices, self.weight, self.padding_idx, self.max_norm, self.norm_type)

    def extra_repr(self) -> str:
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{self.num_embeddings}, {self.embedding_dim}{padding}"


class Identity(Module):
    """x itself."""

    def forward(self, x: Tensor) -> Tensor:
        return x


class Flatten(Module):
    """The axes from `start_axis` to `end_axis`, both included, made one: [n, 8, 8] -> [n, 64]."""

    def __init__(self, start_axis: int = 1, end_axis: int = -1, **names: Any):
        refuse_names("Flatten", names)
        self.start_axis, self.end_axis = start_axis, end_axis

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim == 0:
            raise ValueError(at_user_line("Flatten: a 0-d tensor has no axes to make one of"))
        start, end = self.start_axis % x.ndim, self.end_axis % x.ndim
        return x.reshape((*x.shape[:start], math.prod(x.shape[start:end + 1]), *x.shape[end + 1:]))

    def extra_repr(self) -> str:
        return f"start_axis={self.start_axis}, end_axis={self.end_axis}"


class Unflatten(Module):
    """One axis made several: Unflatten(1, (4, 8)) of [n, 32] is [n, 4, 8]."""

    def __init__(self, axis: int, unflattened_size: Sequence[int]):
        self.axis, self.unflattened_size = axis, tuple(unflattened_size)

    def forward(self, x: Tensor) -> Tensor:
        axis = self.axis % x.ndim
        return x.reshape((*x.shape[:axis], *self.unflattened_size, *x.shape[axis + 1:]))

    def extra_repr(self) -> str:
        return f"axis={self.axis}, unflattened_size={self.unflattened_size}"


class Dropout(MayBeInPlace):
    """While training, each element is 0 with probability p and x / (1 - p) otherwise; else x."""

    def __init__(self, p: float = 0.5, inplace: bool = False):
        if not 0 <= p <= 1:
            raise ValueError(f"{type(self).__name__}: p = {p} is not a probability")
        super().__init__(inplace)
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.dropout(x, self.p, self.training))

    def extra_repr(self) -> str:
        return f"p={self.p}"


class Dropout1d(Dropout):
    """Dropout of whole channels of [n, c, l]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.dropout1d(x, self.p, self.training))


class Dropout2d(Dropout):
    """Dropout of whole channels of [n, c, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.dropout2d(x, self.p, self.training))


class Dropout3d(Dropout):
    """Dropout of whole channels of [n, c, d, h, w]."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.dropout3d(x, self.p, self.training))


class AlphaDropout(Dropout):
    """Dropout beside selu: see functional.alpha_dropout."""

    def forward(self, x: Tensor) -> Tensor:
        return self.stored(x, F.alpha_dropout(x, self.p, self.training))


class CosineSimilarity(Module):
    """The cosine of the angle between vectors along `axis`."""

    def __init__(self, axis: int = 1, eps: float = 1e-8, **names: Any):
        refuse_names("CosineSimilarity", names)
        self.axis, self.eps = axis, eps

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.cosine_similarity(x1, x2, self.axis, eps=self.eps)


class PairwiseDistance(Module):
    """The p-norm of the difference of vectors along the last axis."""

    def __init__(self, p: float = 2.0, eps: float = 1e-6, keepdims: bool = False):
        self.p, self.eps, self.keepdims = p, eps, keepdims

    def forward(self, x1: Tensor, x2: Tensor) -> Tensor:
        return F.pairwise_distance(x1, x2, self.p, self.eps, self.keepdims)
