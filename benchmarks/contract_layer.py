"""What the contract costs a request, in process: routing, security, decode, validate, encode; the handler is a stub.

The same two-url request, the same answer, through our stack and through FastAPI with pydantic models of the same
fields. Both are called as ASGI apps in turns, so that the machine's moods meet both.
"""

import asyncio
import inspect
import json
import statistics
import time
from collections.abc import Coroutine
from typing import Any

import fastapi
import msgspec
import pydantic
import uvloop
from rich.console import Console
from rich.table import Table

from stepscope.app.contract import contract_path
from stepscope.web.auth import Authenticator
from stepscope.web.contract import contract_app, load_document
from stepscope.web.gate import Gate
from stepscope.web.root import Root
from stepscope_api import models as wire
from stepscope_api.operations import PROTOCOLS

ROUNDS = 15
REQUESTS = 500
BODY = json.dumps(
    {
        "predictor": {"id": "3f8c2b1e-90ad-4d35-8a63-6b6c1a0f6b10"},
        "urls": [
            {"id": "in-1", "data": "http://example.org/cat.jpg"},
            {"id": "in-2", "data": "http://example.org/dog.png"},
        ],
        "options": {"request_id": "r-77", "feature_limit": 2},
    }
).encode()
ANSWER: dict[str, Any] = {
    "id": "3f8c2b1e-90ad-4d35-8a63-6b6c1a0f6b10",
    "trace_id": {"id": "4bf92f3577b34da6a3ce929d0e0e4736"},
    "responses": [
        {
            "id": f"answer-{n}",
            "request_id": "r-77",
            "input_id": f"in-{n}",
            "features": [
                {
                    "id": "650a1c9be138230001a3c901",
                    "type": "CLASSIFICATION",
                    "probability": 0.91,
                    "classification": {"index": k, "label": f"class {k}"},
                }
                for k in range(2)
            ],
        }
        for n in range(1, 3)
    ],
    "duration": "0.270380s",
    "duration_for_inference": "0.006210s",
}
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.4"},
    "http_version": "1.1",
    "method": "POST",
    "scheme": "http",
    "path": "/api/predict/urls",
    "raw_path": b"/api/predict/urls",
    "query_string": b"",
    "root_path": "",
    "headers": [
        (b"host", b"127.0.0.1:8080"),
        (b"user-agent", b"bench"),
        (b"accept", b"*/*"),
        (b"content-type", b"application/json"),
        (b"content-length", str(len(BODY)).encode()),
    ],
    "client": ("127.0.0.1", 50000),
    "server": ("127.0.0.1", 8080),
}


def ours() -> Any:
    """Build our stack around a stub."""
    answer = _struct()

    async def predict_urls(context: Any, body: wire.UrlsRequest) -> wire.FeaturesResponse:  # noqa: ARG001
        return answer

    document = load_document(contract_path())
    app = contract_app(document, _stubs(predict_urls), Authenticator({}), 2**26)

    async def nothing() -> None:
        pass

    gate = Gate([], [], any_name=False)
    return Root(contract=app, pages=app, gate=gate, start=nothing, stop=nothing, finish=lambda _: None)


def _struct() -> wire.FeaturesResponse:
    return msgspec.convert(ANSWER, wire.FeaturesResponse)


def _stubs(predict_urls: Any) -> dict[str, object]:
    """Handlers that satisfy the contract; only one is ever called."""
    handlers: dict[str, object] = {}
    for tag, protocol in PROTOCOLS.items():
        methods = {
            name: staticmethod(_like(member))
            for name, member in vars(protocol).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }
        handlers[tag] = type("Stub", (), methods)()
    handlers["predict"].predict_urls = predict_urls  # type: ignore[attr-defined]
    return handlers


def _like(member: Any) -> Any:
    async def stub(*arguments: Any, **named: Any) -> None:
        raise NotImplementedError

    signature = inspect.signature(member)
    parameters = list(signature.parameters.values())[1:]
    stub.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return stub


class PredictorRef(pydantic.BaseModel):
    id: str = pydantic.Field(min_length=1, max_length=256)


class UrlItem(pydantic.BaseModel):
    id: str | None = pydantic.Field(None, max_length=256)
    data: str | None = pydantic.Field(None, max_length=8192)


class PredictionOptions(pydantic.BaseModel):
    request_id: str | None = pydantic.Field(None, max_length=256)
    feature_limit: int | None = pydantic.Field(None, ge=0, le=1000000)
    batch_size: int | None = pydantic.Field(None, ge=1, le=4096)


class UrlsRequest(pydantic.BaseModel):
    predictor: PredictorRef
    urls: list[UrlItem] = pydantic.Field(max_length=4096)
    options: PredictionOptions | None = None


class Classification(pydantic.BaseModel):
    index: int
    label: str


class Feature(pydantic.BaseModel):
    id: str
    type: str
    probability: float
    classification: Classification | None = None


class FeatureResponse(pydantic.BaseModel):
    id: str
    request_id: str
    input_id: str
    features: list[Feature]


class TraceId(pydantic.BaseModel):
    id: str


class FeaturesResponse(pydantic.BaseModel):
    id: str
    trace_id: TraceId
    responses: list[FeatureResponse]
    duration: str
    duration_for_inference: str


def theirs() -> Any:
    """Build the FastAPI side as its documents show it: typed body, typed answer."""
    app = fastapi.FastAPI()
    answer = FeaturesResponse(**ANSWER)

    @app.post("/api/predict/urls")
    async def predict_urls(body: UrlsRequest) -> FeaturesResponse:  # noqa: ARG001
        return answer

    return app


async def _call(app: Any) -> tuple[int, bytes]:
    status = 0
    parts = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY, "more_body": False}

    async def send(message: Any) -> None:
        nonlocal status
        if message["type"] == "http.response.start":
            status = message["status"]
        else:
            parts.append(message["body"])

    await app({**SCOPE, "extensions": {}, "state": {}}, receive, send)
    return status, b"".join(parts)


async def _round(app: Any) -> float:
    started = time.perf_counter()
    for _ in range(REQUESTS):
        await _call(app)
    return (time.perf_counter() - started) / REQUESTS * 1e6


async def measure() -> dict[str, list[float]]:
    """Return microseconds per request by side and round."""
    sides = {"stepscope": ours(), "fastapi": theirs()}
    for name, app in sides.items():
        status, body = await _call(app)
        answered = json.loads(body)
        if status != 200 or answered["responses"][1]["features"][1]["classification"]["index"] != 1:
            raise RuntimeError(f"{name} answers {status}: {body[:200]!r}")
        await _round(app)
    found: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(ROUNDS):
        for name, app in sides.items():
            found[name].append(await _round(app))
    return found


def _run(measuring: Coroutine[Any, Any, dict[str, list[float]]]) -> dict[str, list[float]]:
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # the loop that both servers run on
        return runner.run(measuring)


def main() -> None:
    """Measure and print."""
    found = _run(measure())
    table = Table(title="The contract layer, in process, a two-url request with a stub handler")
    for column in ("side", "median µs", "min", "max", "ratio"):
        table.add_column(column, justify="right")
    base = statistics.median(found["stepscope"])
    for name, values in found.items():
        median = statistics.median(values)
        table.add_row(name, f"{median:.1f}", f"{min(values):.1f}", f"{max(values):.1f}", f"{median / base:.2f}")
    Console().print(table)
