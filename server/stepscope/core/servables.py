"""What a servable's configuration says: its models, its methods, and the stages that a method runs.

A method is a small graph. A `Source` says where a value comes from: stage 0 is the method's inputs, stage K the outputs
of its K-th stage.
"""

from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from stepscope.core.frames import Frame
from stepscope.core.manifests import TensorSpec
from stepscope.core.predictions import Array


class Listed(msgspec.Struct, frozen=True):
    """A text or bytes of shape (1,); a bare one has shape ()."""

    item: str | bytes


PlainValue = Array | str | bytes | Listed
"""What comes and goes over the wire: an array (numbers and bools), a text, or bytes."""
Value = PlainValue | Frame
"""What goes from stage to stage: an image cut to size, too."""
Values = tuple[Value, ...]
Instance = Mapping[str, Value]
"""One set of a method's inputs, or of its outputs, by their names."""


class StageFailed(Exception):
    """An instance goes no further; the text is what its caller is told. For this dialect's wire alone."""


class Source(NamedTuple):
    """Where a value comes from: the `place`-th output of a stage, or of the method's inputs."""

    stage: int
    place: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ModelDeclaration:
    """A model that a servable brings. `file` lies in the folder of a version.

    With `with_batch_dim`, dimension 0 of every input and output counts instances, but for the inputs whose places are
    in `shared_inputs`. Without, an instance is the whole input. `architecture`, `arguments` and `inputs` are needed
    where the file doesn't hold them and no manifest lies beside it.
    """

    file: str
    format: str
    with_batch_dim: bool = True
    shared_inputs: tuple[int, ...] = ()
    architecture: str = ""
    arguments: Mapping[str, object] = field(default_factory=dict)
    inputs: tuple[TensorSpec, ...] = ()

    @property
    def name(self) -> str:
        """What errors and traces call it."""
        return self.file


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FunctionDeclaration:
    """A Python function that a stage calls: for one instance, or for a list where `batch_size` isn't None.

    `batch_size` 0 means as many instances as the servable's models take at once.
    """

    name: str
    call: Callable[..., Any]
    batch_size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One step of a method. Its operator may call it by a `tag`."""

    runs: ModelDeclaration | FunctionDeclaration
    inputs: tuple[Source, ...]
    outputs_count: int
    tag: str = ""

    @property
    def name(self) -> str:
        """What traces call it."""
        return self.tag or self.runs.name

    @property
    def called(self) -> str:
        """What errors call it."""
        kind = "Model" if isinstance(self.runs, ModelDeclaration) else "Function"
        return self.tag or f"{kind} '{self.runs.name}'"


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What callers call: named inputs, stages, named outputs with their sources."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[tuple[str, Source], ...]
    stages: tuple[Stage, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Servable:
    """What one configuration declares."""

    name: str
    methods: Mapping[str, Method]
    models: tuple[ModelDeclaration, ...] = ()


CallModel = Callable[[ModelDeclaration, Sequence[Values]], Sequence[Values]]
"""Runs instances through a model from a function's thread, and waits. Raises `StageFailed`."""
CALL_MODEL: ContextVar[CallModel] = ContextVar("stepscope_call_model")
"""How a function that runs now reaches its servable's models."""
