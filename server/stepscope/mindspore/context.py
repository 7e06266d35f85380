"""Descriptions of devices that configurations carry along. They are taken, and change nothing: torch has its own."""

from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class DeviceInfo:
    """What a configuration says of one kind of device."""

    settings: dict[str, Any] = field(default_factory=dict)

    def __init__(self, **settings: Any) -> None:
        self.settings = settings


class CPUDeviceInfo(DeviceInfo):
    """What a configuration says of the CPU."""


class GPUDeviceInfo(DeviceInfo):
    """What a configuration says of a GPU."""


class AscendDeviceInfo(DeviceInfo):
    """What a configuration says of an Ascend device."""


class Context:
    """How a configuration would have its model run."""

    def __init__(self, **settings: Any) -> None:
        self.settings = settings
        self.devices: list[DeviceInfo] = []

    def append_device_info(self, device_info: DeviceInfo) -> None:
        """Add what there is to say of a device."""
        self.devices.append(device_info)
