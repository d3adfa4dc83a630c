"""Modules: a tree of objects that hold parameters.

A Module is a plain Python object. Its parameters are the attributes that hold a Parameter, its children those that
hold a Module, in the order in which they were first set; nothing is registered.

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(64, 32)
            self.out = nn.Linear(32, 10)

        def forward(self, x):
            return self.out(tg.relu(self.hidden(x)))
"""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Self, overload

import numpy as np

from tracegrad.autograd import no_grad
from tracegrad.dispatch import complete
from tracegrad.recorder import ACTIVE
from tracegrad.states import IncompatibleKeys, State, load_in_place
from tracegrad.tensors import Tensor


class Parameter(Tensor):
    """A Tensor that a Module counts as its own: a leaf, with a copy of `data`, that requires grad by default."""

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True):
        super().__init__(data.array.copy())
        with no_grad():
            complete("reshape", (data,), {"shape": data.array.shape}, self)
        self.requires_grad_(requires_grad)


class Module:
    """Base of everything with parameters; a subclass defines `forward`. Dropout and its like look at `training`."""

    training: bool = True

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.forward(*args, **kwargs)

    # ---- the tree ---------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """The modules held directly, with the names of their attributes."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """The modules held directly."""
        for _, child in self.named_children():
            yield child

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module, named `prefix`, and all below it, parents first; a shared one once, by its first name."""
        seen: set[int] = set()
        stack: list[tuple[str, Module]] = [(prefix, self)]
        while stack:
            name, module = stack.pop()
            if id(module) in seen:
                continue
            if remove_duplicate:
                seen.add(id(module))
            yield name, module
            stack += reversed([(f"{name}.{key}" if name else key, child) for key, child in module.named_children()])

    def modules(self) -> Iterator[Module]:
        """This module and every module below it."""
        for _, module in self.named_modules():
            yield module

    def named_parameters(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Every parameter of this module and of those below it; a shared one once, by its first name."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate):
            for key, value in module.__dict__.items():
                if isinstance(value, Parameter) and id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield (f"{path}.{key}" if path else key), value

    def parameters(self) -> Iterator[Parameter]:
        """Every parameter of this module and of those below it, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def apply(self, function: Callable[[Module], object]) -> Self:
        """Call `function` on every module below this one, children before parents, and on this one."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    # ---- modes, gradients, dtypes -----------------------------------------------------------------------------------

    def train(self, mode: bool = True) -> Self:
        """Set `training` on this module and on all below it."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """`train(False)`."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Let every parameter require grad, or stop it from doing so."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the grad of every parameter: to None, or to 0 in its own storage."""
        clear_grads(self.parameters(), set_to_none)

    def to(self, dtype: Any) -> Self:
        """Convert every parameter, and its grad, to a floating-point dtype. The Parameter objects stay the same."""
        for parameter in self.parameters():
            grad = parameter.grad
            with no_grad():
                replace_array(parameter, parameter.to(dtype).array)
            parameter.grad = None if grad is None else grad.to(dtype)
        return self

    # ---- state ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """Every parameter by name, on the storage of the parameters; one that is shared under each of its names."""
        return {name: parameter.detach() for name, parameter in self.named_parameters(remove_duplicate=False)}

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Write the Tensors or arrays of `state` into the parameters of the same names.

        Returns the names that were missing and unexpected. ValueError, before anything is written, that names each
        parameter whose shape differs and, if `strict`, each missing or unexpected name.
        """
        targets = dict(self.named_parameters(remove_duplicate=False))
        return load_in_place(type(self).__name__, targets, state, strict)

    # ---- text -------------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """What the repr says between the parentheses beside the children."""
        return ""

    def __repr__(self) -> str:
        children = [f"({name}): {child!r}".replace("\n", "\n  ") for name, child in self.named_children()]
        head = f"{type(self).__name__}({self.extra_repr()}"
        return head + "".join(f"\n  {line}" for line in children) + ("\n)" if children else ")")


def replace_array(tensor: Tensor, array: np.ndarray) -> None:
    """Give a tensor other memory, of any dtype; what shared the old memory, or was saved of it, keeps that."""
    if array is tensor.array:
        return
    tensor.prepare_write()
    tensor.array, tensor.storage, tensor.view_of = array, None, None
    recorder = ACTIVE.get()
    if recorder is not None:
        recorder.refuse("a change of a parameter's dtype")


def clear_grads(tensors: Iterable[Tensor], set_to_none: bool) -> None:
    """Clear the grad of each Tensor: to None, or to 0 in its own storage."""
    for tensor in tensors:
        if set_to_none:
            tensor.grad = None
        elif tensor.grad is not None:
            tensor.grad.zero_()


class ModuleList(Module):
    """A list of modules, named "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()):
        self.items: list[Module] = []
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end. TypeError for anything else."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds Modules, not {type(module).__name__}")
        self.items.append(module)
        return self

    def extend(self, modules: Iterable[Module]) -> Self:
        """Add modules at the end."""
        for module in modules:
            self.append(module)
        return self

    def named_children(self) -> Iterator[tuple[str, Module]]:
        for k, module in enumerate(self.items):
            yield str(k), module

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.items)

    @overload
    def __getitem__(self, k: int) -> Module: ...
    @overload
    def __getitem__(self, k: slice) -> Self: ...
    def __getitem__(self, k: int | slice) -> Module | Self:
        return type(self)._of(self.items[k]) if isinstance(k, slice) else self.items[k]

    def __setitem__(self, k: int, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds Modules, not {type(module).__name__}")
        self.items[k] = module

    @classmethod
    def _of(cls, modules: list[Module]) -> Self:
        return cls(modules)


class Sequential(ModuleList):
    """Modules applied one after the other: Sequential(Linear(64, 32), ReLU(), Linear(32, 10))."""

    def __init__(self, *modules: Module):
        super().__init__(modules)

    def forward(self, x: Any) -> Any:
        for module in self.items:
            x = module(x)
        return x

    @classmethod
    def _of(cls, modules: list[Module]) -> Self:
        return cls(*modules)
