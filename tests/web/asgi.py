"""Requests to a server in this process: no sockets, and every answer checked against the contract."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.web.schemas import Contract

HOST = "127.0.0.1:8080"


@dataclass(frozen=True)
class Reply:
    """An answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def problem(self) -> str:
        """The last part of a problem's type."""
        return str(self.json()["type"]).removeprefix("urn:stepscope:problem:")


class Client:
    """Sends requests to an ASGI app."""

    def __init__(self, app: Any, contract: Contract, headers: dict[str, str] | None = None) -> None:
        self._app = app
        self._contract = contract
        self._headers = headers or {}

    def with_headers(self, **headers: str) -> "Client":
        """Return a client that sends these too; underscores stand for dashes."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return Client(self._app, self._contract, self._headers | named)

    async def get(self, path: str, query: str = "", **headers: str) -> Reply:
        return await self.with_headers(**headers).request("GET", path, query=query)

    async def post(self, path: str, document: Any = None, **headers: str) -> Reply:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        sent = {"content-type": "application/json"} | {k.replace("_", "-"): v for k, v in headers.items()}
        return await self.request("POST", path, body, headers=sent)

    async def request(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        gone: asyncio.Event | None = None,
    ) -> Reply:
        """Send a request; `body` may come in parts, and `gone` says when the client goes away."""
        sent = {"host": HOST, "accept": "*/*"} | self._headers | (headers or {})
        parts = [body] if isinstance(body, bytes) else list(body)
        if isinstance(body, bytes) and body:
            sent.setdefault("content-length", str(len(body)))
        messages = [
            {"type": "http.request", "body": part, "more_body": place < len(parts) - 1}
            for place, part in enumerate(parts)
        ]
        answer = _Answer(messages, gone or asyncio.Event())
        await self._app(_scope(method, path, query, sent), answer.receive, answer.send)
        reply = answer.reply()
        if gone is None:
            self._contract.check(method, path, reply)
        return reply


class _Answer:
    def __init__(self, messages: list[dict[str, Any]], gone: asyncio.Event) -> None:
        self._messages = messages
        self._gone = gone
        self._sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self._messages:
            return self._messages.pop(0)
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self._sent.append(message)

    def reply(self) -> Reply:
        start = self._sent[0]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in start["headers"]}
        return Reply(start["status"], headers, b"".join(message["body"] for message in self._sent[1:]))


def _scope(method: str, path: str, query: str, headers: dict[str, str]) -> dict[str, Any]:
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()],
        "client": ("127.0.0.1", 50000),
        "server": ("127.0.0.1", 8080),
        "state": {},
    }
