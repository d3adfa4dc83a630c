"""Layers as tests draw them: how to make one in any library with torch's names, and what to call it with.

    Case("LSTM", lambda nn: nn.LSTM(3, 4), ((5, 2, 3),))

`make` is called with tracegrad.nn or with torch.nn, so arguments are those that both have. An input is the shape of a
tensor of normal numbers, or a function of a NumPy generator.
"""
from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Input = tuple[int, ...] | Callable[[np.random.Generator], np.ndarray]


@dataclass(frozen=True)
class Case:
    """One layer and its inputs."""

    name: str
    make: Callable[[Any], Any]
    inputs: tuple[Input, ...]
    options: tuple[tuple[str, Any], ...] = ()       # further arguments of the call, ndarrays become tensors
    training: bool = True

    def arrays(self) -> list[np.ndarray]:
        """The inputs, the same every time."""
        rng = np.random.default_rng(0)
        return [rng.standard_normal(i) if isinstance(i, tuple) else i(rng) for i in self.inputs]

    def differentiable(self) -> list[bool]:
        """Which inputs require grad: all that are normal numbers, and the first if it is one of floats."""
        return [isinstance(i, tuple) or k == 0 and a.dtype.kind == "f"
                for k, (i, a) in enumerate(zip(self.inputs, self.arrays()))]

    def __str__(self) -> str:
        return self.name


def labels(high: int, *shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, high, shape)


def chances(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.random(shape)


def signs(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, 2, shape) * 2.0 - 1


def counts(*shape: int) -> Callable[[np.random.Generator], np.ndarray]:
    return lambda rng: rng.integers(0, 5, shape).astype(np.float64)


CAUSAL = np.triu(np.ones((5, 5), bool), 1)
PADDING = np.array([[False] * 5, [False, False, False, True, True]])

LAYERS = (
    Case("Linear", lambda nn: nn.Linear(3, 4), ((5, 3),)),
    Case("Linear no bias", lambda nn: nn.Linear(3, 4, bias=False), ((2, 5, 3),)),
    Case("Bilinear", lambda nn: nn.Bilinear(3, 4, 5), ((6, 3), (6, 4))),
    Case("Embedding", lambda nn: nn.Embedding(7, 3), (labels(7, 4, 5),)),
    Case("Embedding padding", lambda nn: nn.Embedding(7, 3, padding_idx=2), (labels(7, 4, 5),)),
    Case("Embedding max_norm", lambda nn: nn.Embedding(7, 3, max_norm=1.0), (labels(7, 4),)),
    Case("LayerNorm", lambda nn: nn.LayerNorm(5), ((4, 5),)),
    Case("LayerNorm 2d", lambda nn: nn.LayerNorm((3, 5), eps=1e-3), ((4, 3, 5),)),
    Case("LayerNorm plain", lambda nn: nn.LayerNorm(5, elementwise_affine=False), ((4, 5),)),
    Case("LayerNorm no bias", lambda nn: nn.LayerNorm(5, bias=False), ((4, 5),)),
    Case("RMSNorm", lambda nn: nn.RMSNorm(5), ((4, 5),)),
    Case("RMSNorm eps", lambda nn: nn.RMSNorm((2, 5), eps=0.1), ((4, 2, 5),)),
    Case("GroupNorm", lambda nn: nn.GroupNorm(2, 6), ((4, 6, 5),)),
    Case("GroupNorm images", lambda nn: nn.GroupNorm(3, 6), ((2, 6, 3, 4),)),
    Case("BatchNorm1d", lambda nn: nn.BatchNorm1d(5), ((8, 5),)),
    Case("BatchNorm1d sequence", lambda nn: nn.BatchNorm1d(5, momentum=None), ((3, 5, 4),)),
    Case("BatchNorm1d eval", lambda nn: nn.BatchNorm1d(5), ((8, 5),), training=False),
    Case("BatchNorm1d untracked", lambda nn: nn.BatchNorm1d(5, track_running_stats=False), ((8, 5),), training=False),
    Case("BatchNorm1d plain", lambda nn: nn.BatchNorm1d(5, affine=False), ((8, 5),)),
    Case("BatchNorm2d", lambda nn: nn.BatchNorm2d(3, momentum=0.3), ((4, 3, 2, 5),)),
    Case("BatchNorm3d", lambda nn: nn.BatchNorm3d(3), ((2, 3, 2, 2, 3),)),
    Case("InstanceNorm1d", lambda nn: nn.InstanceNorm1d(3), ((4, 3, 5),)),
    Case("InstanceNorm2d", lambda nn: nn.InstanceNorm2d(3, affine=True, track_running_stats=True), ((4, 3, 2, 5),)),
    Case("InstanceNorm2d eval", lambda nn: nn.InstanceNorm2d(3, track_running_stats=True), ((4, 3, 2, 5),),
         training=False),
    Case("InstanceNorm3d", lambda nn: nn.InstanceNorm3d(3), ((2, 3, 2, 2, 3),)),
    Case("CosineSimilarity", lambda nn: nn.CosineSimilarity(), ((4, 5), (4, 5))),
    Case("PairwiseDistance", lambda nn: nn.PairwiseDistance(), ((4, 5), (4, 5))),
    Case("MultiheadAttention", lambda nn: nn.MultiheadAttention(6, 2), ((5, 2, 6), (7, 2, 6), (7, 2, 6))),
    Case("MultiheadAttention batch first", lambda nn: nn.MultiheadAttention(6, 3, batch_first=True),
         ((2, 5, 6), (2, 7, 6), (2, 7, 6))),
    Case("MultiheadAttention sizes", lambda nn: nn.MultiheadAttention(6, 2, kdim=3, vdim=4),
         ((5, 2, 6), (7, 2, 3), (7, 2, 4))),
    Case("MultiheadAttention heads", lambda nn: nn.MultiheadAttention(6, 2, bias=False), ((5, 2, 6),) * 3,
         (("average_attn_weights", False),)),
    Case("MultiheadAttention masks", lambda nn: nn.MultiheadAttention(6, 2), ((5, 2, 6),) * 3,
         (("attn_mask", CAUSAL), ("key_padding_mask", PADDING))),
    Case("MultiheadAttention alone", lambda nn: nn.MultiheadAttention(6, 2), ((5, 6), (4, 6), (4, 6))),
    Case("MultiheadAttention more keys", lambda nn: nn.MultiheadAttention(6, 2, add_bias_kv=True, add_zero_attn=True),
         ((5, 2, 6),) * 3),
    Case("TransformerEncoderLayer", lambda nn: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0), ((5, 2, 6),)),
    Case("TransformerEncoderLayer norm first",
         lambda nn: nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, norm_first=True, batch_first=True), ((2, 5, 6),),
         (("src_mask", CAUSAL),)),
    Case("TransformerEncoder",
         lambda nn: nn.TransformerEncoder(nn.TransformerEncoderLayer(6, 2, 8, 0.0, batch_first=True), 2,
                                          nn.LayerNorm(6)), ((2, 5, 6),)),
    Case("TransformerDecoderLayer", lambda nn: nn.TransformerDecoderLayer(6, 2, 8, dropout=0.0),
         ((5, 2, 6), (4, 2, 6)), (("tgt_mask", CAUSAL),)),
    Case("TransformerDecoder",
         lambda nn: nn.TransformerDecoder(nn.TransformerDecoderLayer(6, 2, 8, 0.0, norm_first=True), 2),
         ((5, 2, 6), (4, 2, 6))),
    Case("Transformer", lambda nn: nn.Transformer(6, 2, 1, 1, 8, 0.0, batch_first=True), ((2, 5, 6), (2, 4, 6)),
         (("tgt_mask", CAUSAL[:4, :4]),)),
    Case("RNNCell", lambda nn: nn.RNNCell(3, 4), ((2, 3), (2, 4))),
    Case("RNNCell relu", lambda nn: nn.RNNCell(3, 4, bias=False, nonlinearity="relu"), ((2, 3),)),
    Case("LSTMCell", lambda nn: nn.LSTMCell(3, 4), ((2, 3),)),
    Case("GRUCell", lambda nn: nn.GRUCell(3, 4), ((2, 3), (2, 4))),
    Case("GRUCell alone", lambda nn: nn.GRUCell(3, 4), ((3,),)),
    Case("RNN", lambda nn: nn.RNN(3, 4), ((5, 2, 3),)),
    Case("RNN relu", lambda nn: nn.RNN(3, 4, nonlinearity="relu", num_layers=2, batch_first=True), ((2, 5, 3),)),
    Case("LSTM", lambda nn: nn.LSTM(3, 4), ((5, 2, 3),)),
    Case("LSTM both ways", lambda nn: nn.LSTM(3, 4, num_layers=2, bidirectional=True, batch_first=True), ((2, 4, 3),)),
    Case("LSTM no bias", lambda nn: nn.LSTM(3, 4, bias=False), ((5, 3),)),
    Case("GRU", lambda nn: nn.GRU(3, 4, num_layers=2), ((5, 2, 3), (2, 2, 4))),
    Case("GRU both ways", lambda nn: nn.GRU(3, 4, bidirectional=True), ((4, 2, 3),)),
)

ACTIVATIONS = tuple(
    Case(name, lambda nn, name=name: getattr(nn, name)(), ((3, 4),))
    for name in ("ReLU ReLU6 Tanh Sigmoid SiLU GELU ELU CELU SELU LeakyReLU Softplus Hardtanh Hardsigmoid Hardswish "
                 "Hardshrink Softshrink Softsign Tanhshrink LogSigmoid Mish GLU PReLU").split()
) + (
    Case("ReLU in place", lambda nn: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), ((3, 4),)),
    Case("ELU in place", lambda nn: nn.Sequential(nn.Linear(4, 3), nn.ELU(0.5, inplace=True)), ((3, 4),)),
    Case("GELU tanh", lambda nn: nn.GELU(approximate="tanh"), ((3, 4),)),
    Case("Threshold", lambda nn: nn.Threshold(0.1, 2.0), ((3, 4),)),
    Case("PReLU channels", lambda nn: nn.PReLU(3), ((2, 3, 4),)),
    Case("Softplus beta", lambda nn: nn.Softplus(2.0, 1.0), ((3, 4),)),
    Case("Softmin", lambda nn: nn.Softmin(1), ((3, 4),)),
    Case("Softmax", lambda nn: nn.Softmax(1), ((3, 4),)),
    Case("LogSoftmax", lambda nn: nn.LogSoftmax(0), ((3, 4),)),
)

CONVOLUTIONS = (
    Case("Conv1d", lambda nn: nn.Conv1d(3, 4, 3, stride=2, padding=1), ((2, 3, 7),)),
    Case("Conv1d groups", lambda nn: nn.Conv1d(4, 4, 3, groups=4, dilation=2, bias=False), ((2, 4, 9),)),
    Case("Conv2d", lambda nn: nn.Conv2d(3, 4, (3, 2), padding=(1, 0)), ((2, 3, 5, 6),)),
    Case("Conv2d same", lambda nn: nn.Conv2d(4, 6, 3, padding="same", groups=2), ((2, 4, 5, 5),)),
    Case("Conv3d", lambda nn: nn.Conv3d(2, 3, 2), ((1, 2, 3, 3, 4),)),
    Case("ConvTranspose1d", lambda nn: nn.ConvTranspose1d(3, 4, 3, stride=2, padding=1, output_padding=1),
         ((2, 3, 5),)),
    Case("ConvTranspose2d", lambda nn: nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2), ((2, 4, 3, 3),)),
    Case("ConvTranspose3d", lambda nn: nn.ConvTranspose3d(2, 3, 2), ((1, 2, 2, 3, 2),)),
    Case("Conv1d circular", lambda nn: nn.Conv1d(2, 3, 3, padding=2, padding_mode="circular"), ((2, 2, 6),)),
    Case("Conv2d reflect", lambda nn: nn.Conv2d(2, 3, 3, padding=(1, 2), padding_mode="reflect"), ((2, 2, 5, 6),)),
    Case("Conv2d replicate same", lambda nn: nn.Conv2d(2, 3, (3, 4), padding="same", padding_mode="replicate"),
         ((2, 2, 5, 6),)),
    Case("ZeroPad2d", lambda nn: nn.ZeroPad2d((1, 2, 0, 3)), ((2, 2, 3, 4),)),
    Case("ConstantPad1d", lambda nn: nn.ConstantPad1d((2, -1), 1.5), ((2, 2, 4),)),
    Case("ReflectionPad1d", lambda nn: nn.ReflectionPad1d(2), ((2, 2, 4),)),
    Case("ReplicationPad3d", lambda nn: nn.ReplicationPad3d((1, 0, 2, 1, 0, 1)), ((1, 2, 2, 3, 2),)),
    Case("CircularPad2d", lambda nn: nn.CircularPad2d((1, 2, 2, 1)), ((2, 2, 3, 4),)),
    Case("Upsample", lambda nn: nn.Upsample(scale_factor=2), ((2, 2, 3),)),
    Case("Upsample linear", lambda nn: nn.Upsample(size=(5, 7), mode="bilinear"), ((2, 2, 3, 4),)),
    Case("UpsamplingNearest2d", lambda nn: nn.UpsamplingNearest2d(scale_factor=2), ((1, 2, 2, 3),)),
    Case("UpsamplingBilinear2d", lambda nn: nn.UpsamplingBilinear2d(size=5), ((1, 2, 2, 3),)),
    Case("PixelShuffle", lambda nn: nn.PixelShuffle(2), ((1, 8, 2, 3),)),
    Case("PixelUnshuffle", lambda nn: nn.PixelUnshuffle(2), ((1, 2, 4, 6),)),
    Case("Unfold", lambda nn: nn.Unfold(2, padding=1), ((1, 2, 4, 3),)),
    Case("Fold", lambda nn: nn.Fold((4, 5), 2), ((1, 8, 12),)),
    Case("MaxPool1d", lambda nn: nn.MaxPool1d(3, 2, 1), ((2, 3, 8),)),
    Case("MaxPool2d", lambda nn: nn.MaxPool2d(2), ((2, 3, 4, 6),)),
    Case("MaxPool3d", lambda nn: nn.MaxPool3d(2, 1), ((1, 2, 3, 3, 3),)),
    Case("AvgPool1d", lambda nn: nn.AvgPool1d(3, 2, 1, count_include_pad=False), ((2, 3, 8),)),
    Case("AvgPool2d", lambda nn: nn.AvgPool2d((2, 3), ceil_mode=True), ((2, 3, 5, 6),)),
    Case("AvgPool3d", lambda nn: nn.AvgPool3d(2), ((1, 2, 4, 2, 2),)),
    Case("AdaptiveAvgPool1d", lambda nn: nn.AdaptiveAvgPool1d(3), ((2, 3, 7),)),
    Case("AdaptiveAvgPool2d", lambda nn: nn.AdaptiveAvgPool2d((1, 3)), ((2, 3, 5, 6),)),
    Case("AdaptiveMaxPool1d", lambda nn: nn.AdaptiveMaxPool1d(3), ((2, 3, 7),)),
    Case("AdaptiveMaxPool2d", lambda nn: nn.AdaptiveMaxPool2d(2), ((2, 3, 5, 6),)),
)

LOSSES = (
    Case("MSELoss", lambda nn: nn.MSELoss(), ((4, 5), (4, 5))),
    Case("L1Loss", lambda nn: nn.L1Loss(), ((4, 5), (4, 5))),
    Case("SmoothL1Loss", lambda nn: nn.SmoothL1Loss(beta=0.7), ((4, 5), (4, 5))),
    Case("SmoothL1Loss 0", lambda nn: nn.SmoothL1Loss(beta=0.0), ((4, 5), (4, 5))),
    Case("HuberLoss", lambda nn: nn.HuberLoss(delta=0.6), ((4, 5), (4, 5))),
    Case("CrossEntropyLoss", lambda nn: nn.CrossEntropyLoss(), ((4, 5), labels(5, 4))),
    Case("CrossEntropyLoss smoothed", lambda nn: nn.CrossEntropyLoss(label_smoothing=0.1, reduction="sum"),
         ((4, 5, 3), labels(5, 4, 3))),
    Case("CrossEntropyLoss chances", lambda nn: nn.CrossEntropyLoss(), ((4, 5), chances(4, 5))),
    Case("NLLLoss", lambda nn: nn.NLLLoss(ignore_index=1), ((4, 5), labels(5, 4))),
    Case("MultiMarginLoss", lambda nn: nn.MultiMarginLoss(p=2, margin=0.5), ((4, 5), labels(5, 4))),
    Case("BCELoss", lambda nn: nn.BCELoss(), (chances(4, 5), chances(4, 5))),
    Case("BCEWithLogitsLoss", lambda nn: nn.BCEWithLogitsLoss(), ((4, 5), chances(4, 5))),
    Case("MultiLabelSoftMarginLoss", lambda nn: nn.MultiLabelSoftMarginLoss(), ((4, 5), chances(4, 5))),
    Case("KLDivLoss", lambda nn: nn.KLDivLoss(reduction="batchmean"), ((4, 5), chances(4, 5))),
    Case("KLDivLoss logs", lambda nn: nn.KLDivLoss(reduction="sum", log_target=True), ((4, 5), (4, 5))),
    Case("PoissonNLLLoss", lambda nn: nn.PoissonNLLLoss(full=True), ((4, 5), counts(4, 5))),
    Case("PoissonNLLLoss rates", lambda nn: nn.PoissonNLLLoss(log_input=False), (chances(4, 5), counts(4, 5))),
    Case("GaussianNLLLoss", lambda nn: nn.GaussianNLLLoss(full=True), ((4, 5), (4, 5), chances(4, 5))),
    Case("HingeEmbeddingLoss", lambda nn: nn.HingeEmbeddingLoss(margin=0.5), ((4, 5), signs(4, 5))),
    Case("SoftMarginLoss", lambda nn: nn.SoftMarginLoss(), ((4, 5), signs(4, 5))),
    Case("MarginRankingLoss", lambda nn: nn.MarginRankingLoss(0.3), ((4,), (4,), signs(4))),
    Case("CosineEmbeddingLoss", lambda nn: nn.CosineEmbeddingLoss(0.1), ((4, 5), (4, 5), signs(4))),
    Case("TripletMarginLoss", lambda nn: nn.TripletMarginLoss(), ((4, 5), (4, 5), (4, 5))),
    Case("TripletMarginLoss swap", lambda nn: nn.TripletMarginLoss(p=1, swap=True, reduction="sum"),
         ((4, 5), (4, 5), (4, 5))),
)
