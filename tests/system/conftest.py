from collections.abc import Iterator

import httpx2
import pytest

from tests.system.live import KEYED, Live, serving


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """The server as it ships, without keys."""
    with serving(tmp_path_factory.mktemp("server")) as live:
        yield live


@pytest.fixture(scope="session")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Live]:
    """A server that asks for a key."""
    with serving(tmp_path_factory.mktemp("keyed"), environment=KEYED) as live:
        yield live


@pytest.fixture
def client(server: Live) -> Iterator[httpx2.Client]:
    with server.client() as client:
        yield client
