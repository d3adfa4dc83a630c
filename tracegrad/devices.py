"""Devices: where a tensor's storage is. Today there is one, the CPU."""
from __future__ import annotations

from codegen.ir.structs import struct
from tracegrad.source_lines import at_user_line


@struct
class Device:
    """A place for storage, by name."""

    type: str

    def __str__(self) -> str:
        return self.type

    def __repr__(self) -> str:
        return f"device({self.type!r})"


CPU = Device("cpu")


def device_of(device: str | Device | None) -> Device:
    """The device that a user's `device=` means; ValueError for one that tracegrad does not have."""
    if device is None or device == CPU or device == "cpu":
        return CPU
    raise ValueError(at_user_line(f"tracegrad has no device {str(device)!r} yet; the devices are 'cpu'"))
