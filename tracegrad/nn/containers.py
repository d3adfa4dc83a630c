"""Containers: modules and parameters in lists, dicts and sequences."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, overload

from tracegrad.nn.modules import Module, Parameter


class ModuleList(Module):
    """A list of modules, named "0", "1", ..."""

    def __init__(self, modules: Iterable[Module] = ()):
        self.items: list[Module] = []
        self.extend(modules)

    def append(self, module: Module) -> Self:
        """Add a module at the end. TypeError for anything else."""
        return self.insert(len(self.items), module)

    def insert(self, k: int, module: Module) -> Self:
        """Add a module before the k-th. TypeError for anything else."""
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__} holds Modules, not {type(module).__name__}")
        self.items.insert(k, module)
        return self

    def pop(self, k: int = -1) -> Module:
        """Take a module out."""
        module = self.items[k]
        del self[k]
        return module

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

    def __delitem__(self, k: int | slice) -> None:
        del self.items[k]

    def __iadd__(self, modules: Iterable[Module]) -> Self:
        return self.extend(modules)

    @classmethod
    def _of(cls, modules: list[Module]) -> Self:
        return cls(modules)


class Sequential(ModuleList):
    """Modules applied one after the other: Sequential(Linear(64, 32), ReLU(), Linear(32, 10)).

    Of a dict the modules keep their names: Sequential({"hidden": Linear(64, 32), "out": Linear(32, 10)}).hidden.
    """

    def __init__(self, *modules: Module | Mapping[str, Module]):
        first = modules[0] if modules else None
        self.names = list(first) if isinstance(first, Mapping) else []
        super().__init__(first.values() if isinstance(first, Mapping) else modules)     # type: ignore[arg-type]

    def insert(self, k: int, module: Module) -> Self:
        if len(self.names) > len(self.items):           # while it is made
            return super().insert(k, module)
        if self.names:
            self.names.insert(k, str(len(self.items)))
        return super().insert(k, module)

    def __delitem__(self, k: int | slice) -> None:
        super().__delitem__(k)
        if self.names:
            del self.names[k]

    def named_children(self) -> Iterator[tuple[str, Module]]:
        return zip(self.names, self.items) if self.names else super().named_children()

    def __getattr__(self, name: str) -> Module:
        names = self.__dict__.get("names", ())
        if name in names:
            return self.items[names.index(name)]
        raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")

    def forward(self, x: Any) -> Any:
        for module in self.items:
            x = module(x)
        return x

    @classmethod
    def _of(cls, modules: list[Module]) -> Self:
        return cls(*modules)


class ModuleDict(Module):
    """Modules by name, in the order in which they were added."""

    def __init__(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]] = ()):
        self.items_by_name: dict[str, Module] = {}
        self.update(modules)

    def update(self, modules: Mapping[str, Module] | Iterable[tuple[str, Module]]) -> None:
        """Add modules, in the place of those that have their names."""
        for name, module in dict(modules).items():
            self[name] = module

    def named_children(self) -> Iterator[tuple[str, Module]]:
        yield from self.items_by_name.items()

    def keys(self) -> Iterable[str]:
        """The names."""
        return self.items_by_name.keys()

    def values(self) -> Iterable[Module]:
        """The modules."""
        return self.items_by_name.values()

    def items(self) -> Iterable[tuple[str, Module]]:
        """The names and the modules."""
        return self.items_by_name.items()

    def pop(self, name: str) -> Module:
        """Take a module out."""
        return self.items_by_name.pop(name)

    def __getitem__(self, name: str) -> Module:
        return self.items_by_name[name]

    def __setitem__(self, name: str, module: Module) -> None:
        if not isinstance(module, Module):
            raise TypeError(f"ModuleDict holds Modules, not {type(module).__name__}")
        self.items_by_name[name] = module

    def __delitem__(self, name: str) -> None:
        del self.items_by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self.items_by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_by_name)

    def __len__(self) -> int:
        return len(self.items_by_name)


class ParameterList(Module):
    """A list of parameters, named "0", "1", ...; other Tensors become Parameters."""

    def __init__(self, values: Iterable[Any] = ()):
        self.items: list[Parameter] = []
        self.extend(values)

    def append(self, value: Any) -> Self:
        """Add a parameter at the end."""
        self.items.append(value if isinstance(value, Parameter) else Parameter(value))
        return self

    def extend(self, values: Iterable[Any]) -> Self:
        """Add parameters at the end."""
        for value in values:
            self.append(value)
        return self

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for k, parameter in enumerate(self.items):
            yield str(k), parameter

    def place_of(self, name: str) -> tuple[Any, Any]:
        return self.items, int(name)

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Parameter]:
        return iter(self.items)

    def __getitem__(self, k: int) -> Parameter:
        return self.items[k]

    def __setitem__(self, k: int, value: Any) -> None:
        self.items[k] = value if isinstance(value, Parameter) else Parameter(value)


class ParameterDict(Module):
    """Parameters by name; other Tensors become Parameters."""

    def __init__(self, values: Mapping[str, Any] | Iterable[tuple[str, Any]] = ()):
        self.items_by_name: dict[str, Parameter] = {}
        for name, value in dict(values).items():
            self[name] = value

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        yield from self.items_by_name.items()

    def place_of(self, name: str) -> tuple[Any, Any]:
        return self.items_by_name, name

    def keys(self) -> Iterable[str]:
        """The names."""
        return self.items_by_name.keys()

    def values(self) -> Iterable[Parameter]:
        """The parameters."""
        return self.items_by_name.values()

    def items(self) -> Iterable[tuple[str, Parameter]]:
        """The names and the parameters."""
        return self.items_by_name.items()

    def __getitem__(self, name: str) -> Parameter:
        return self.items_by_name[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self.items_by_name[name] = value if isinstance(value, Parameter) else Parameter(value)

    def __contains__(self, name: object) -> bool:
        return name in self.items_by_name

    def __iter__(self) -> Iterator[str]:
        return iter(self.items_by_name)

    def __len__(self) -> int:
        return len(self.items_by_name)
