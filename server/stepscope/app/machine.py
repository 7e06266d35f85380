"""What this machine has, and a process's share of it."""

import json
import platform
import socket
from collections.abc import Callable

import psutil

from stepscope.core.ports import Runtime
from stepscope.core.predictions import DeviceRef
from stepscope.settings import Settings
from stepscope_api import models as wire

ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}


def share_of_cores(settings: Settings) -> int:
    """Return the cores that are a process's share."""
    return max(1, (psutil.cpu_count() or 1) // settings.server.processes)


def share_of_memory(settings: Settings, runtime: Runtime) -> Callable[[DeviceRef], int]:
    """Return what tells how many bytes of a device a process's models may take: its share of what all may."""
    configured = settings.models.memory_mb * 2**20

    def limit(device: DeviceRef) -> int:
        return (configured or runtime.capacity_bytes(device) // 2) // settings.server.processes

    return limit


def describe_agent(settings: Settings, runtime: Runtime) -> wire.Agent:
    """Describe this server as the registry lists it."""
    cuda = [str(device) for device in runtime.devices() if device.kind == "cuda"]
    cpu = {"model_name": platform.processor() or platform.machine(), "cores": psutil.cpu_count()}
    return wire.Agent(
        host=settings.server.host,
        port=str(settings.server.port),
        hostname=socket.gethostname(),
        architecture=ARCHITECTURES.get(platform.machine(), platform.machine()),
        hasgpu=bool(cuda),
        cpuinfo=json.dumps(cpu),
        gpuinfo=json.dumps({"devices": cuda}) if cuda else "",
        frameworks=[wire.FrameworkRef(name=runtime.framework_name, version=runtime.framework_version)],
        metadata={},
    )
