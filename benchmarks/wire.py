"""A plain client on one connection, for bodies that wrk's script would be slow with."""

import http.client
import time

from benchmarks.sides import TIMEOUT_S, Endpoint


class Caller:
    """Sends requests one after the other. Raises `RuntimeError` for any answer but 200."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._path = endpoint.path
        self._headers = {"Content-Type": endpoint.content_type}
        self._connection = http.client.HTTPConnection("127.0.0.1", endpoint.port, timeout=TIMEOUT_S)

    def __enter__(self) -> "Caller":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def call(self, body: bytes) -> float:
        """Return the seconds that one request took."""
        return self.ask(body)[0]

    def ask(self, body: bytes) -> tuple[float, bytes]:
        """Return the seconds that one request took, and its answer."""
        started = time.perf_counter()
        self._connection.request("POST", self._path, body, self._headers)
        response = self._connection.getresponse()
        answer = response.read()
        took = time.perf_counter() - started
        if response.status != 200:
            raise RuntimeError(f"{self._path} answers {response.status}: {answer[:300]!r}")
        return took, answer
