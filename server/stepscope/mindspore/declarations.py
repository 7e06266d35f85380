"""What a configuration declares while it is imported: gathered here, read by whoever imports it."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from stepscope.core.servables import FunctionDeclaration, Method, ModelDeclaration, Servable, Source, Stage


class Placeholder:
    """Stands for a value in the body of a method, which only wires stages."""

    def __init__(self, source: Source, method: "MethodDeclarations") -> None:
        self.source = source
        self.method = method


class MethodDeclarations:
    """The stages of the method whose body runs now."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.stages: list[Stage] = []


class Declarations:
    """Everything that one configuration declared so far."""

    def __init__(self, servable: str) -> None:
        self.servable = servable
        self.models: list[ModelDeclaration] = []
        self.methods: dict[str, Method] = {}
        self.functions: dict[str, tuple[FunctionDeclaration, int, int]] = {}
        self.method: MethodDeclarations | None = None

    def as_servable(self) -> Servable:
        """Return what was declared."""
        return Servable(name=self.servable, methods=dict(self.methods), models=tuple(self.models))


_gathering: ContextVar[Declarations] = ContextVar("stepscope_declarations")


@contextmanager
def gathering(servable: str) -> Iterator[Declarations]:
    """Gather what the code within the block declares for a servable."""
    found = Declarations(servable)
    token = _gathering.set(found)
    try:
        yield found
    finally:
        _gathering.reset(token)


def current() -> Declarations:
    """Return what is gathered now. Raises `RuntimeError` outside of a configuration's import."""
    try:
        return _gathering.get()
    except LookupError:
        raise RuntimeError("Declarations belong into a servable_config.py, which the server imports.") from None
