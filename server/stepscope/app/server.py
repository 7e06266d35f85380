"""A server: what lies behind its wires, and the wires."""

from dataclasses import dataclass

from starlette.types import ASGIApp

from stepscope import __version__
from stepscope.app.aime import aime_wires
from stepscope.app.backend import Backend, build_backend
from stepscope.app.contract import contract_path
from stepscope.app.lifespan import Lifespan
from stepscope.app.machine import describe_agent
from stepscope.app.mindspore import build_mindspore
from stepscope.app.runtime import build_runtime
from stepscope.core.ports import Counts, Runtime, SessionStore
from stepscope.dialects.aime.aime import Aime
from stepscope.dialects.mlmodelscope.predict import Predict
from stepscope.dialects.mlmodelscope.registry import Registry
from stepscope.dialects.mlmodelscope.responses import Responses
from stepscope.dialects.system import System
from stepscope.dialects.traces import TraceQueries
from stepscope.engine.engine import Engine
from stepscope.engine.jobs import Jobs
from stepscope.engine.servables import Servables
from stepscope.settings import Settings
from stepscope.tracing.tracer import Tracer
from stepscope.web.auth import Authenticator
from stepscope.web.contract import Handlers, contract_app, load_document, without_own_wires
from stepscope.web.cors import with_cors
from stepscope.web.gate import Gate
from stepscope.web.metrics import Metrics
from stepscope.web.mindspore import MindsporeApp
from stepscope.web.pages import pages_app
from stepscope.web.root import Root
from stepscope.web.tallies import Tallies
from stepscope_api import models as wire


@dataclass(frozen=True, slots=True, kw_only=True)
class App:
    """A server, built and not yet started."""

    root: Root
    asgi: ASGIApp
    engine: Engine
    tracer: Tracer
    servables: Servables
    gate: Gate
    mindspore: MindsporeApp
    jobs: Jobs
    sessions: SessionStore
    aime: Aime | None

    def drain(self) -> None:
        """Take nothing new: the server is about to stop."""
        self.engine.drain()
        if self.aime is not None:
            self.aime.drain()


def build(settings: Settings, runtime: Runtime | None = None, tallies: Tallies | None = None) -> App:
    """Build a server from its settings. The torch runtime is taken unless another one is given.

    `tallies` is where this process counts when it is one of several.
    """
    runtime = runtime or build_runtime(settings)
    bundle = contract_path()
    document = load_document(bundle)
    responses = Responses(__version__, document["info"]["version"])
    backend = build_backend(settings, runtime, responses)
    auth = Authenticator(settings.auth.keys)

    def read_counts() -> Counts:
        answered = ("Requests that were answered.", float(root.answered))
        return {"stepscope_requests": answered, **backend.tracer.read_counts()}

    metrics = Metrics(read_counts, tallies)
    lifespan = Lifespan(backend, None if tallies is None else metrics.publish)
    gate = _gate(settings, auth)
    mindspore = build_mindspore(settings, backend.servables, backend.tracer, auth)
    handlers = _handlers(backend, describe_agent(settings, runtime), responses)
    root = Root(
        contract=contract_app(document, handlers, auth, settings.limits.body_mb * 2**20),
        pages=pages_app(document, bundle, backend.tracer, metrics, auth, settings.traces.jaeger_url),
        gate=gate,
        start=lifespan.start,
        stop=lifespan.stop,
        finish=backend.tracer.finish,
        wires=[*aime_wires(backend.aime, list(without_own_wires(document)["paths"])), mindspore],
    )
    return App(
        root=root,
        asgi=with_cors(root, settings.server.cors_origins),
        engine=backend.engine,
        tracer=backend.tracer,
        servables=backend.servables,
        gate=gate,
        mindspore=mindspore,
        jobs=backend.jobs,
        sessions=backend.sessions,
        aime=backend.aime,
    )


def _handlers(backend: Backend, agent: wire.Agent, responses: Responses) -> Handlers:
    """Return what answers the operations of each tag."""
    engine, tracer = backend.engine, backend.tracer
    return {
        "predict": Predict(engine, backend.evaluations, tracer.begin, responses),
        "jobs": backend.native_jobs.queue,
        "registry": Registry(engine, agent),
        "system": System(engine, responses.server, responses.contract),
        "traces": TraceQueries(tracer),
    }


def _gate(settings: Settings, auth: Authenticator) -> Gate:
    # A key can't be had by a page that only borrowed this machine's address.
    any_name = auth.required or settings.server.insecure
    return Gate(settings.server.cors_origins, [*settings.server.names, settings.server.host], any_name=any_name)
