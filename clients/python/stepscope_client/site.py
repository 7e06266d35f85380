"""What a server says of itself, as plain frozen values."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from stepscope_generated import models as wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Framework:
    """A framework by name and version; a model's may be a constraint."""

    name: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A model that can be opened; `manifest` is all that the contract has on it."""

    name: str
    version: str
    framework: Framework
    description: str = ""
    output: str = ""
    """The kind of its output, such as `classification`."""
    attributes: Mapping[str, str] = field(default_factory=dict)
    manifest: Any = field(repr=False, compare=False, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """A machine that runs models."""

    host: str
    port: int
    hostname: str
    architecture: str
    has_gpu: bool
    frameworks: tuple[Framework, ...]
    cpu: Mapping[str, Any]
    gpu: Mapping[str, Any]
    """Empty without one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """The versions of the server, of the contract and of the frameworks, and the devices, the best one first."""

    server: str
    contract: str
    frameworks: tuple[Framework, ...]
    devices: tuple[str, ...]


def read_model(message: wire.ModelManifest) -> Model:
    """Return a model's manifest as a value."""
    return Model(
        name=message.name,
        version=message.version,
        framework=read_framework(message.framework),
        description=(message.description or "").strip(),
        output=message.output.type if message.output else "",
        attributes=message.attributes or {},
        manifest=message,
    )


def read_framework(message: wire.FrameworkRef | wire.FrameworkManifest) -> Framework:
    """Return a framework's name and version."""
    return Framework(name=message.name, version=message.version)


def read_agent(message: wire.Agent) -> Agent:
    """Return a machine as a value."""
    return Agent(
        host=message.host,
        port=int(message.port or 0),
        hostname=message.hostname,
        architecture=message.architecture,
        has_gpu=message.hasgpu,
        frameworks=tuple(read_framework(framework) for framework in message.frameworks or ()),
        cpu=_document(message.cpuinfo),
        gpu=_document(message.gpuinfo),
    )


def read_version(message: wire.Version) -> Version:
    """Return a server's versions as a value."""
    return Version(
        server=message.server,
        contract=message.contract,
        frameworks=tuple(read_framework(framework) for framework in message.frameworks),
        devices=tuple(message.devices),
    )


def _document(text: str | None) -> Mapping[str, Any]:
    """Read a JSON document that travels in a string."""
    try:
        document = json.loads(text or "{}")
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}
