"""Modules: a tree of objects that hold parameters.

A Module is a plain Python object. Its parameters are the attributes that hold a Parameter, its children those that
hold a Module, in the order in which they were first set. Its buffers, Tensors that are state but are not trained, are
the attributes whose names were registered.

    class Net(nn.Module):
        def __init__(self):
            self.hidden = nn.Linear(64, 32)
            self.out = nn.Linear(32, 10)

        def forward(self, x):
            return self.out(tg.relu(self.hidden(x)))
"""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np

from tracegrad.dispatch import complete
from tracegrad.dtypes import bfloat16, float16, float32, float64, is_floating_point
from tracegrad.grad_modes import no_grad
from tracegrad.outside import QUIET
from tracegrad.recorder import ACTIVE
from tracegrad.states import IncompatibleKeys, State, load_in_place
from tracegrad.tensors import Tensor


class Parameter(Tensor):
    """A Tensor that a Module counts as its own: a leaf, with a copy of `data`, that requires grad by default."""

    __slots__ = ()

    def __init__(self, data: Tensor, requires_grad: bool = True):
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter takes a Tensor, not {type(data).__name__}; make one with tg.tensor(...)")
        super().__init__(data.array.copy())
        with no_grad():
            complete("reshape", (data,), {"shape": data.shape}, self)
        self.requires_grad_(requires_grad)


QUIET.add(Parameter)


class ModuleHook:
    """A function that a module calls; `remove()` takes it away again."""

    def __init__(self, module: Module, function: Callable[..., Any]):
        self.module, self.function = module, function

    def remove(self) -> None:
        """Do not call the function any more."""
        module = self.module
        module.forward_hooks = tuple(hook for hook in module.forward_hooks if hook is not self)
        module.forward_pre_hooks = tuple(hook for hook in module.forward_pre_hooks if hook is not self)


class Module:
    """Base of everything with parameters; a subclass defines `forward`. Dropout and its like look at `training`."""

    training: bool = True
    buffer_names: tuple[tuple[str, bool], ...] = ()         # (name, is it part of the state?)
    forward_hooks: tuple[ModuleHook, ...] = ()
    forward_pre_hooks: tuple[ModuleHook, ...] = ()

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What calling the module computes."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        for hook in self.forward_pre_hooks:
            changed = hook.function(self, args)
            if changed is not None:
                args = changed if isinstance(changed, tuple) else (changed,)
        result = self.forward(*args, **kwargs)
        for hook in self.forward_hooks:
            changed = hook.function(self, args, result)
            result = result if changed is None else changed
        return result

    def register_forward_pre_hook(self, function: Callable[[Module, tuple], Any]) -> ModuleHook:
        """Before every call, call function(module, args); what it returns, if not None, takes the place of args."""
        hook = ModuleHook(self, function)
        self.forward_pre_hooks = (*self.forward_pre_hooks, hook)
        return hook

    def register_forward_hook(self, function: Callable[[Module, tuple, Any], Any]) -> ModuleHook:
        """After every call, call function(module, args, result); what it returns, if not None, is the result."""
        hook = ModuleHook(self, function)
        self.forward_hooks = (*self.forward_hooks, hook)
        return hook

    # ---- what it holds ----------------------------------------------------------------------------------------------

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Set an attribute and count it as a buffer, unless it is None; `persistent`: is it part of the state?"""
        if not name.isidentifier():
            raise KeyError(f"{name!r} cannot be the name of a buffer")
        self.buffer_names = (*(entry for entry in self.buffer_names if entry[0] != name), (name, persistent))
        setattr(self, name, tensor)

    def register_parameter(self, name: str, parameter: Parameter | None) -> None:
        """Set an attribute to a Parameter or None."""
        if parameter is not None and not isinstance(parameter, Parameter):
            raise TypeError(f"{name!r} cannot be a {type(parameter).__name__}: it is no Parameter")
        setattr(self, name, parameter)

    def add_module(self, name: str, module: Module | None) -> None:
        """Set an attribute to a module or None."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"{name!r} cannot be a {type(module).__name__}: it is no Module")
        setattr(self, name, module)

    register_module = add_module

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

    def named_parameters(self, prefix: str = "", recurse: bool = True,
                         remove_duplicate: bool = True) -> Iterator[tuple[str, Parameter]]:
        """Every parameter of this module and, if `recurse`, of those below; a shared one once, by its first name."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for key, value in module.own_parameters():
                if id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield (f"{path}.{key}" if path else key), value

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """The parameters held directly, with the names of their attributes."""
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter):
                yield name, value

    def place_of(self, name: str) -> tuple[Any, Any]:
        """What holds the parameter or buffer of this name: itself, as an attribute, or what has it as an item."""
        return self, name

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """Every parameter of this module and, if `recurse`, of those below it, each once."""
        for _, parameter in self.named_parameters(recurse=recurse):
            yield parameter

    def named_buffers(self, prefix: str = "", recurse: bool = True,
                      remove_duplicate: bool = True) -> Iterator[tuple[str, Tensor]]:
        """Every buffer of this module and, if `recurse`, of those below; a shared one once, by its first name."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for key, value, _ in module.own_buffers():
                if id(value) not in seen:
                    if remove_duplicate:
                        seen.add(id(value))
                    yield (f"{path}.{key}" if path else key), value

    def own_buffers(self) -> Iterator[tuple[str, Tensor, bool]]:
        """The buffers held directly: (name, buffer, is it part of the state?)."""
        for name, persistent in self.buffer_names:
            value = self.__dict__.get(name)
            if isinstance(value, Tensor):
                yield name, value, persistent

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """Every buffer of this module and, if `recurse`, of those below it, each once."""
        for _, buffer in self.named_buffers(recurse=recurse):
            yield buffer

    def get_submodule(self, target: str) -> Module:
        """The module below this one that "a.b.c" names; AttributeError if there is none."""
        module = self
        for key in filter(None, target.split(".")):
            children = dict(module.named_children())
            if key not in children:
                raise AttributeError(f"{type(module).__name__} has no module {key!r}")
            module = children[key]
        return module

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

    def to(self, *targets: Any, dtype: Any = None, device: Any = None) -> Self:
        """Convert every floating-point parameter, its grad, and buffer to a dtype. The Tensors stay the same objects.

        To a device go all parameters and buffers.
        """
        for target in (t for t in (*targets, device, dtype) if t is not None):
            for tensor in (*self.parameters(), *self.buffers()):
                grad = tensor.grad
                with no_grad():
                    moved = tensor.to(target)
                    if not is_floating_point(tensor) and moved.dtype != tensor.dtype:
                        moved = tensor.to(moved.device)
                    replace_array(tensor, moved.array)
                if grad is not None and is_floating_point(tensor):
                    tensor.grad = None
                    tensor.grad = grad.to(target)
        return self

    def float(self) -> Self:
        """`to(float32)`."""
        return self.to(float32)

    def double(self) -> Self:
        """`to(float64)`."""
        return self.to(float64)

    def half(self) -> Self:
        """`to(float16)`."""
        return self.to(float16)

    def bfloat16(self) -> Self:
        """`to(bfloat16)`."""
        return self.to(bfloat16)

    def cpu(self) -> Self:
        """`to("cpu")`."""
        return self.to("cpu")

    def cuda(self, device: str | int | None = None) -> Self:
        """`to("cuda")`, or a GPU by its number or name."""
        return self.to("cuda" if device is None else f"cuda:{device}" if isinstance(device, int) else device)

    # ---- state ------------------------------------------------------------------------------------------------------

    def state_dict(self) -> State:
        """Parameters and persistent buffers by name, on their own storage; what is shared under each of its names."""
        return {name: value.detach() for name, value in self._named_state().items()}

    def _named_state(self) -> State:
        state: State = {}
        for path, module in self.named_modules(remove_duplicate=False):
            start = f"{path}." if path else ""
            state |= {start + name: parameter for name, parameter in module.own_parameters()}
            state |= {start + name: buffer for name, buffer, persistent in module.own_buffers() if persistent}
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> IncompatibleKeys:
        """Write the Tensors or arrays of `state` into the parameters and buffers of the same names.

        Returns the names that were missing and unexpected. ValueError, before anything is written, that names each
        whose shape differs and, if `strict`, each missing or unexpected name.
        """
        return load_in_place(type(self).__name__, self._named_state(), state, strict)

    # ---- as a pytree ------------------------------------------------------------------------------------------------

    def __tree_flatten__(self) -> tuple[list[Tensor], Module]:
        """Every Tensor that it, or a module below it, holds, each once, and the module."""
        found = {id(t): t for module in self.modules() for t in module.own_tensors()}
        return list(found.values()), self

    def own_tensors(self) -> Iterator[Tensor]:
        """The Tensors held directly: parameters, buffers and others."""
        yield from (value for value in self.__dict__.values() if isinstance(value, Tensor))
        yield from (parameter for _, parameter in self.own_parameters())

    @staticmethod
    def __tree_unflatten__(module: Module, tensors: Sequence[Any]) -> Module:
        """A copy of the module with these in the place of its Tensors."""
        return copy.deepcopy(module, {id(old): new for old, new in zip(module.__tree_flatten__()[0], tensors)})

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
