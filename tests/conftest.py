"""What tests of the wire share. Imported here are only names for types: tests of the core need no web framework."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hypothesis
import pytest

if TYPE_CHECKING:
    from stepscope.settings import Settings
    from tests.store.postgresql import Postgresql
    from tests.web.asgi import Client
    from tests.web.schemas import Contract
    from tests.web.servers import Loading

# A shell ignores SIGINT for what it starts in the background, and so would every process that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests don't time: a busy machine is slow, and right.
hypothesis.settings.register_profile("untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("untimed")

Serve = Callable[..., contextlib.AbstractAsyncContextManager["Client"]]


@pytest.fixture(scope="session")
def contract() -> Iterator[Contract]:
    """The contract. Read once and found valid once, which is most of what it takes to build a server."""
    from connexion.spec import OpenAPISpecification

    from stepscope.app import server
    from tests.web.schemas import Contract

    judge = Contract()
    OpenAPISpecification.from_dict(judge.document)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(OpenAPISpecification, "_validate_spec", lambda self, spec: None)
        patch.setattr(server, "load_document", lambda path: judge.document)
        yield judge


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL for all tests, each with a database of its own."""
    yield from _postgresql()


@pytest.fixture
def own_postgresql() -> Iterator[Postgresql]:
    """A PostgreSQL for one test, which may stop it."""
    yield from _postgresql()


def _postgresql() -> Iterator[Postgresql]:
    from tests.store.postgresql import programs, running

    folder = programs()
    if folder is None:
        pytest.skip("PostgreSQL isn't here: install Debian's package postgresql")
    with running(folder) as server:
        yield server


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model repository for the echo runtime."""
    from tests.web.servers import write_models

    return write_models(tmp_path / "models")


@pytest.fixture
def runtime(contract: Contract) -> Loading:
    from tests.web.servers import Loading

    return Loading()


@pytest.fixture
def settings(models: Path, tmp_path: Path) -> Callable[..., Settings]:
    """Make settings by sections, with the model repository of this test."""
    from stepscope.settings import Settings

    def make(**sections: dict[str, Any]) -> Settings:
        own = {"folders": [models], "builtin": False, "cache": tmp_path / "cache"}
        # A database for each of hundreds of servers would take minutes; tests of the store have theirs.
        store = {"url": "memory:"} | sections.get("store", {})
        return Settings.model_validate({**sections, "models": own | sections.get("models", {}), "store": store})

    return make


@pytest.fixture
def serve(settings: Callable[..., Settings], runtime: Loading, contract: Contract) -> Serve:
    """Start a server with some settings, for the length of an `async with`."""
    from stepscope.app.server import build
    from tests.web.asgi import Client
    from tests.web.servers import running

    @contextlib.asynccontextmanager
    async def start(**sections: dict[str, Any]) -> AsyncIterator[Client]:
        async with running(build(settings(**sections), runtime)) as app:
            yield Client(app.asgi, contract)

    return start


@pytest.fixture
async def client(serve: Serve) -> AsyncIterator[Client]:
    """A server as it is without configuration."""
    async with serve() as client:
        yield client
