"""lengths: kernels of a plan that differ in the length of their one axis alone become one, which is given the length.

    launch for i < 512: ...        launch for i < n0: ... with n0 = 512
    launch for i < 4096: ...  ->   launch for i < n0: ... with n0 = 4096         compiled once

The parameters of a model have many sizes and one update.
"""
from __future__ import annotations

from dataclasses import replace

from codegen.ir.dims import symbol
from codegen.schedule.kernel import Index, Kernel, Load, Store, indices_of
from codegen.schedule.plan import Launch, Step
from codegen.schedule.sizes import LARGEST

LENGTH = symbol("n0")


def of_any_length(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps with one kernel for those that differ only so; its chunks are as long as the longest of theirs."""
    alike: dict[Kernel, dict[int, Launch]] = {}
    for k, step in enumerate(steps):
        if isinstance(step, Launch) and (form := of_one_length(step.kernel)):
            alike.setdefault(form, {})[k] = step
    result = list(steps)
    for form, launches in alike.items():
        if len({step.kernel for step in launches.values()}) > 1:
            kernel = replace(form, grain=max(step.kernel.grain for step in launches.values()))
            for k, step in launches.items():
                result[k] = replace(step, kernel=kernel, words=(step.kernel.axes[0].extent,))
    return tuple(result)


def of_one_length(kernel: Kernel) -> Kernel | None:
    """The kernel for any length, without chunks, if it goes along one axis and nothing in it depends on its length."""
    if len(kernel.axes) != 1 or kernel.words or any(one.axes for one in kernel.passes):
        return None
    (axis,) = kernel.axes
    length = axis.extent
    if not isinstance(length, int) or not 1 < length < LARGEST or axis.clip or kernel.vector != axis.name:
        return None
    along = Index(((axis.name, 1),))
    body = [s for one in kernel.passes for s in one.body]
    if any(index not in (along, Index()) for s in body for index in indices_of(s)):
        return None
    whole = {s.buffer for s in body if isinstance(s, Load | Store) and s.index == along}

    if any(kernel.params[buffer].size != length for buffer in whole):
        return None
    params = tuple(replace(p, size=LENGTH) if k in whole else p for k, p in enumerate(kernel.params))
    return replace(kernel, params=params, axes=(replace(axis, extent=LENGTH),), grain=0, words=1)
