"""optim: update rules and schedules of the learning rate, with PyTorch's names, defaults and numbers."""
from tracegrad.optim import lr_scheduler
from tracegrad.optim.adam import Adam, Adamax, AdamW, NAdam, RAdam
from tracegrad.optim.adaptive import Adadelta, Adagrad, RMSprop
from tracegrad.optim.descent import SGD
from tracegrad.optim.lbfgs import LBFGS
from tracegrad.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)
from tracegrad.optim.optimizer import Optimizer, ParamGroup

__all__ = [
    "Adadelta", "Adagrad", "Adam", "AdamW", "Adamax", "ChainedScheduler", "ConstantLR", "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts", "CyclicLR", "ExponentialLR", "LBFGS", "LambdaLR", "LinearLR", "MultiStepLR",
    "MultiplicativeLR", "NAdam", "OneCycleLR", "Optimizer", "ParamGroup", "PolynomialLR", "RAdam", "RMSprop",
    "ReduceLROnPlateau", "SGD", "SequentialLR", "StepLR", "lr_scheduler",
]
