"""nn: modules, layers, losses and initial values, with PyTorch's names and defaults."""
from tracegrad.nn import functional, init
from tracegrad.nn.layers import (
    Dropout,
    Flatten,
    Identity,
    Linear,
    LogSoftmax,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Tanh,
)
from tracegrad.nn.losses import CrossEntropyLoss, MSELoss, NLLLoss
from tracegrad.nn.modules import Module, ModuleList, Parameter, Sequential

__all__ = [
    "CrossEntropyLoss", "Dropout", "Flatten", "Identity", "Linear", "LogSoftmax", "MSELoss", "Module", "ModuleList",
    "NLLLoss", "Parameter", "ReLU", "Sequential", "SiLU", "Sigmoid", "Softmax", "Tanh", "functional", "init",
]
