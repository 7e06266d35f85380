"""The one place that builds everything."""

import asyncio
import gc
import json
import logging
import os
import platform
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import psutil
from starlette.types import ASGIApp

from stepscope import __version__
from stepscope.core.admission import AdmissionLimits
from stepscope.core.errors import ServableInvalid, TraceNotFound
from stepscope.core.manifests import Manifest
from stepscope.core.ports import Counts, Runtime, SessionStore
from stepscope.core.predictions import DeviceRef, ModelRef
from stepscope.core.spans import Trace
from stepscope.core.tuning import Execution, TuningOptions
from stepscope.dialects.aime import configuration as aime_configuration
from stepscope.dialects.aime.aime import Aime
from stepscope.dialects.aime.model_runs import ModelRuns
from stepscope.dialects.mindspore import manifest_methods
from stepscope.dialects.mindspore.instances import Instances
from stepscope.dialects.mlmodelscope.job_notices import JobNotices
from stepscope.dialects.mlmodelscope.job_records import KIND, render
from stepscope.dialects.mlmodelscope.job_work import JobWork
from stepscope.dialects.mlmodelscope.jobs import JobQueue, JobTerms
from stepscope.dialects.mlmodelscope.predict import Predict
from stepscope.dialects.mlmodelscope.registry import Registry
from stepscope.dialects.mlmodelscope.responses import Responses
from stepscope.dialects.mlmodelscope.wire import write_json_feature
from stepscope.dialects.system import System
from stepscope.dialects.traces import TraceQueries
from stepscope.engine import configurations
from stepscope.engine.catalog import Catalog
from stepscope.engine.datasets import Datasets
from stepscope.engine.engine import Engine, EngineLimits
from stepscope.engine.evaluations import Evaluations
from stepscope.engine.fetch import Fetcher, FetchLimits
from stepscope.engine.jobs import JobLimits, Jobs
from stepscope.engine.models import Models
from stepscope.engine.pipeline import Pipeline
from stepscope.engine.plans import Plans
from stepscope.engine.predictors import Predictors
from stepscope.engine.runner import Runner
from stepscope.engine.servables import Servables, Version
from stepscope.engine.webhooks import AT_ONCE, Webhooks
from stepscope.engine.webhooks import KIND as WEBHOOK
from stepscope.engine.weights import Weights
from stepscope.settings import BUILTIN, MEMORY, SQLITE, Settings, is_loopback, telemetry
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore
from stepscope.store.memory_jobs import MemoryJobs
from stepscope.store.memory_sessions import MemorySessions
from stepscope.store.sql import SqlStore
from stepscope.store.sql_jobs import SqlJobs
from stepscope.store.sql_sessions import SqlSessions
from stepscope.tracing.archive import Archive, ArchiveLimits
from stepscope.tracing.tracer import Tracer, TracerOptions
from stepscope.web.aime import AimeApp
from stepscope.web.aime_pages import AimePages
from stepscope.web.auth import Authenticator
from stepscope.web.contract import contract_app, load_document, without_own_wires
from stepscope.web.cors import with_cors
from stepscope.web.gate import Gate
from stepscope.web.metrics import Metrics
from stepscope.web.mindspore import MindsporeApp
from stepscope.web.pages import pages_app
from stepscope.web.root import Root, Wire
from stepscope.web.tallies import WRITE_S, Tallies
from stepscope.web.tls import ServerContext
from stepscope.worker.calls import Calls, Identity
from stepscope.worker.predictions import Asked, Predictions
from stepscope.worker.worker import Worker
from stepscope_api import models as wire

log = logging.getLogger("stepscope.app")

COLLECT_AFTER = 20_000
"""Objects made, less those gone, after which the collector looks for cycles among the young ones."""

OWN_PATHS = ("/ui", "/metrics", "/openapi.json", "/openapi.yaml", "/traces", "/trace", "/model", "/version")
"""Paths beside the contract's that a dialect's own may not begin like."""

FLUSH_S = 1.0
"""How long a predictor's use may wait to be written."""


FOR_EVER_S = 1e9
"""The lease of a worker's own predictor."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerOptions:
    """Whom a worker works for, and what it does."""

    server: str
    asked: Asked
    batch: int = 1
    tls: ssl.SSLContext | None = None


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
    runtime = runtime or _torch(settings)
    fetcher = Fetcher(_fetch_limits(settings))
    folders = repositories(settings)
    catalog = Catalog(folders, [(runtime.framework_name, runtime.framework_version)], settings.models.aliases)
    datasets = Datasets(folders)
    store = _store(settings)
    jobs, sessions = _jobs(settings)
    engine = _engine(settings, runtime, fetcher, catalog, store)
    tracer = _tracer(settings)
    bundle = contract_path()
    document = load_document(bundle)
    contract_version = document["info"]["version"]
    servables = Servables(engine)
    evaluations = Evaluations(engine, datasets)
    responses = Responses(__version__, contract_version)
    native = _native_jobs(settings, engine, evaluations, jobs, fetcher, tracer, responses)
    handlers = {
        "predict": Predict(engine, evaluations, tracer.begin, responses),
        "jobs": native.queue,
        "registry": Registry(engine, agent(settings, runtime)),
        "system": System(engine, __version__, contract_version),
        "traces": TraceQueries(tracer),
    }
    auth = Authenticator(settings.auth.keys)
    aime = _aime(settings, engine, jobs, sessions)

    def read_counts() -> Counts:
        answered = ("Requests that were answered.", float(root.answered))
        return {"stepscope_requests": answered, **tracer.read_counts()}

    metrics = Metrics(read_counts, tallies)
    publishing: list[asyncio.Task[None]] = []

    async def start() -> None:
        catalog.scan()
        datasets.scan()
        await store.start()
        await jobs.start()
        for version in _servables(catalog, folders, runtime.framework_name, settings.mindspore.stage_threads):
            servables.put(version)
        await fetcher.start()
        await engine.start()
        tracer.start()
        native.start()
        _start_aime(aime)
        if tallies is not None:
            publishing.append(asyncio.create_task(_publish(metrics)))
        # What start-up made stays for good; a collection after each close (200 ms otherwise) needn't look at it.
        gc.freeze()
        # A prediction makes hundreds of objects that live until its answer: by default each would cause a collection.
        gc.set_threshold(COLLECT_AFTER)

    async def stop() -> None:
        for task in publishing:
            task.cancel()
        servables.stop()
        await native.stop()
        await _stop_aime(aime)
        await engine.stop()
        await fetcher.close()
        await jobs.stop()
        await store.stop()
        await asyncio.to_thread(tracer.stop)

    origins = settings.server.cors_origins
    gate = Gate(origins, [*settings.server.names, settings.server.host], any_name=_any_name(settings, auth))
    mindspore = _mindspore(settings, servables, tracer, auth)
    root = Root(
        contract=contract_app(document, handlers, auth, settings.limits.body_mb * 2**20),
        pages=pages_app(document, bundle, tracer, metrics, auth, settings.traces.jaeger_url),
        gate=gate,
        start=start,
        stop=stop,
        finish=tracer.finish,
        wires=[*_aime_wires(aime, list(without_own_wires(document)["paths"])), mindspore],
    )
    return App(
        root=root,
        asgi=with_cors(root, origins),
        engine=engine,
        tracer=tracer,
        servables=servables,
        gate=gate,
        mindspore=mindspore,
        jobs=jobs,
        sessions=sessions,
        aime=aime,
    )


def build_worker(settings: Settings, identity: Identity, work: WorkerOptions, runtime: Runtime | None = None) -> Worker:
    """Build a worker of another server. Nothing of this machine's store or listeners is used."""
    runtime = runtime or _torch(settings)
    fetcher = Fetcher(_fetch_limits(settings))
    catalog = Catalog(
        repositories(settings), [(runtime.framework_name, runtime.framework_version)], settings.models.aliases
    )
    lasting = settings.model_copy(update={"predict": settings.predict.model_copy(update={"lease_s": FOR_EVER_S})})
    engine = _engine(lasting, runtime, fetcher, catalog, MemoryStore())
    predictions = Predictions(engine, catalog, fetcher, work.asked, write_json_feature)
    return Worker(Calls(work.server, identity, work.tls), predictions, work.batch)


def _torch(settings: Settings) -> Runtime:
    from stepscope.runtimes.torch import TorchRuntime  # torch takes seconds to import: only who runs models needs it

    # The event loop needs a core of its own, or every answer waits for the model.
    threads = max(1, _cores(settings) - 1)
    return TorchRuntime(threads, tuning_options(settings), settings.models.cache.expanduser() / "tuning")


def tls_context(settings: Settings) -> ssl.SSLContext | None:
    """Return what the listeners need to speak TLS; None without a certificate. Raises `SettingsInvalid`."""
    tls = settings.tls
    if tls.certificate is None or tls.private_key is None:
        return None
    return ServerContext.load(
        tls.certificate.expanduser(),
        tls.private_key.expanduser(),
        tls.custom_ca.expanduser() if tls.verify_client and tls.custom_ca else None,
    )


@dataclass(frozen=True, slots=True)
class NativeJobs:
    """What native jobs need in this process."""

    queue: JobQueue
    work: JobWork
    runners: list[Runner]

    def start(self) -> None:
        """Begin to run jobs, and to tell of their ends."""
        for runner in self.runners:
            runner.start()

    async def stop(self) -> None:
        """Put back what runs."""
        for runner in self.runners:
            await runner.stop()
        await self.work.stop()


def _native_jobs(
    settings: Settings,
    engine: Engine,
    evaluations: Evaluations,
    jobs: Jobs,
    fetcher: Fetcher,
    tracer: Tracer,
    responses: Responses,
) -> NativeJobs:
    options = settings.jobs
    webhooks = Webhooks(jobs, fetcher, render)
    terms = JobTerms(
        max_waiting=options.waiting,
        attempts=options.attempts,
        lease_s=options.lease_s,
        timeout_s=options.lapse_hours * 3600,
        keep_s=options.keep_hours * 3600,
    )
    notices = JobNotices(webhooks)
    jobs.lapsed = notices.promise
    work = JobWork(engine, evaluations, tracer.begin, tracer.finish, responses)
    runners = [Runner(jobs, WEBHOOK, webhooks.deliver, at_once=AT_ONCE)]
    if options.run_at_once:
        runners.append(Runner(jobs, KIND, work, at_once=options.run_at_once, ending=notices.promise))
    return NativeJobs(JobQueue(engine, jobs, notices, tracer.begin, terms), work, runners)


async def _publish(metrics: Metrics) -> None:
    while True:
        metrics.publish()
        await asyncio.sleep(WRITE_S)


def repositories(settings: Settings) -> list[Path]:
    """Return the model repositories that are served, in the order in which they are searched."""
    folders = [folder.expanduser() for folder in settings.models.folders]
    return [*folders, BUILTIN] if settings.models.builtin else folders


def tune(settings: Settings, name: str, *, force: bool = False) -> tuple[Manifest, Execution]:
    """Tune a model on the best device, whether or not tuning is on. Raises `ModelNotFound`, `ModelUnavailable`."""
    from stepscope.runtimes.torch import TorchRuntime

    cache = settings.models.cache.expanduser()
    runtime = TorchRuntime(tuning=replace(tuning_options(settings), enabled=True), folder=cache / "tuning")
    catalog = Catalog(repositories(settings), [(runtime.framework_name, runtime.framework_version)], {})
    catalog.scan()
    manifest = catalog.resolve(ModelRef(name=name))
    ready = asyncio.run(_found(settings, manifest))
    return manifest, runtime.tune(ready, runtime.devices()[0], force=force)


async def _found(settings: Settings, manifest: Manifest) -> Manifest:
    fetcher = Fetcher(_fetch_limits(settings))
    await fetcher.start()
    try:
        return await Weights(fetcher, settings.models.cache.expanduser()).find(manifest)
    finally:
        await fetcher.close()


def tuning_options(settings: Settings) -> TuningOptions:
    """Return how much is tried to make models run faster."""
    tuning = settings.tuning
    return TuningOptions(
        enabled=tuning.enabled,
        budget_s=tuning.budget_s,
        compile=tuning.compile,
        cap=settings.predict.batch_size,
        cores=_cores(settings) if settings.server.processes > 1 else None,
    )


def _cores(settings: Settings) -> int:
    """Return the cores that are a process's share."""
    return max(1, (psutil.cpu_count() or 1) // settings.server.processes)


def contract_path() -> Path:
    """Return where the bundled contract lies: beside the generated package, or in a checkout's `generated`."""
    import stepscope_api

    package = Path(stepscope_api.__file__).parent
    installed = package / "openapi.yaml"
    return installed if installed.exists() else package.parents[1] / "openapi.yaml"


def agent(settings: Settings, runtime: Runtime) -> wire.Agent:
    """Describe this server as the registry lists it."""
    cuda = [str(device) for device in runtime.devices() if device.kind == "cuda"]
    cpu = {"model_name": platform.processor() or platform.machine(), "cores": psutil.cpu_count()}
    architectures = {"x86_64": "amd64", "aarch64": "arm64"}
    return wire.Agent(
        host=settings.server.host,
        port=str(settings.server.port),
        hostname=socket.gethostname(),
        architecture=architectures.get(platform.machine(), platform.machine()),
        hasgpu=bool(cuda),
        cpuinfo=json.dumps(cpu),
        gpuinfo=json.dumps({"devices": cuda}) if cuda else "",
        frameworks=[wire.FrameworkRef(name=runtime.framework_name, version=runtime.framework_version)],
        metadata={},
    )


def _engine(
    settings: Settings, runtime: Runtime, fetcher: Fetcher, catalog: Catalog, store: MemoryStore | CachedStore
) -> Engine:
    weights = Weights(fetcher, settings.models.cache.expanduser())
    engine = Engine(
        catalog=catalog,
        runtime=runtime,
        predictors=Predictors(store, settings.predict.lease_s),
        models=Models(runtime, weights.find, _memory_limit(settings, runtime)),
        plans=Plans(catalog, weights.find),
        pipeline=Pipeline(fetcher, workers=_cores(settings)),
        limits=EngineLimits(
            admission=AdmissionLimits(in_flight=settings.limits.inputs, per_owner=settings.limits.inputs_per_owner),
            batch_size=settings.predict.batch_size,
            timeout_s=settings.predict.timeout_s,
        ),
    )
    if isinstance(store, CachedStore):
        store.removed = engine.dismiss
    return engine


def _store(settings: Settings) -> MemoryStore | CachedStore:
    if settings.store.url == MEMORY:
        return MemoryStore()
    return CachedStore(SqlStore(store_url(settings)), flush_s=min(FLUSH_S, settings.predict.lease_s / 20))


def _jobs(settings: Settings) -> tuple[Jobs, SessionStore]:
    limits = JobLimits(payload_bytes=settings.jobs.input_mb * 2**20, result_bytes=settings.jobs.result_mb * 2**20)
    if settings.store.url == MEMORY:
        return Jobs(MemoryJobs(), limits=limits), MemorySessions()
    store = SqlJobs(store_url(settings), settings.store.files)
    return Jobs(store, limits=limits), SqlSessions(store)


def store_url(settings: Settings) -> str:
    """Return where records are kept."""
    return settings.store.url or f"{SQLITE}{settings.models.cache.expanduser() / 'store.sqlite'}"


def prepare(settings: Settings) -> None:
    """Make what processes that start at once would get in each other's way over. Raises `SettingsInvalid`."""
    if settings.store.url != MEMORY:
        asyncio.run(_prepare_store(SqlStore(store_url(settings))))
    if settings.server.processes > 1:
        Archive(traces_file(settings), ArchiveLimits()).close()


async def _prepare_store(store: SqlStore) -> None:
    try:
        await store.start()
    finally:
        await store.stop()


def traces_file(settings: Settings) -> Path:
    """Return where traces are kept."""
    return settings.traces.file or settings.models.cache.expanduser() / "traces.sqlite"


def find_trace(settings: Settings, trace_id: str) -> Trace:
    """Return a trace from the file in which this machine's server keeps them. Raises `TraceNotFound`."""
    trace = _tracer(settings, exports=False).find(trace_id, None) if traces_file(settings).exists() else None
    if trace is None:
        raise TraceNotFound(trace_id)
    return trace


def _tracer(settings: Settings, *, exports: bool = True) -> Tracer:
    traces = settings.traces
    limits = ArchiveLimits(
        requests=traces.keep_requests, age_s=traces.keep_hours * 3600, size_bytes=traces.keep_mb * 2**20
    )
    collector = telemetry(os.environ)
    options = TracerOptions(
        service=collector.service,
        sample_per_s=traces.sample_per_s / settings.server.processes,
        spans=traces.spans,
        queue=traces.queue,
        shared=settings.server.processes > 1,
    )
    exporter = None
    if exports and collector.exports:
        from stepscope.tracing.otlp import OtlpExporter  # OpenTelemetry takes a while to import

        exporter = OtlpExporter(collector.service, spans=traces.spans, queue=traces.queue)
    return Tracer(Archive(traces_file(settings), limits), options, exporter)


def _mindspore(settings: Settings, servables: Servables, tracer: Tracer, auth: Authenticator) -> MindsporeApp:
    options = settings.mindspore
    return MindsporeApp(
        Instances(servables, tracer.begin, wrap_integers=options.wrap_integers),
        auth,
        max_body_bytes=options.max_msg_mb * 2**20,
        http_status=options.http_status,
    )


def _aime(settings: Settings, engine: Engine, jobs: Jobs, sessions: SessionStore) -> Aime | None:
    """Return the aime dialect with what is configured; None where nothing is. Raises `SettingsInvalid`."""
    options = settings.aime
    if not options.endpoints and options.server_config is None:
        return None
    configured = aime_configuration.load(options.endpoints, options.server_config)
    return Aime(configured, jobs, sessions, ModelRuns(configured, engine, jobs, write_json_feature), __version__)


def _start_aime(aime: Aime | None) -> None:
    if aime is not None:
        aime.start()


async def _stop_aime(aime: Aime | None) -> None:
    if aime is not None:
        await aime.stop()


def _aime_wires(aime: Aime | None, taken: list[str]) -> list[Wire]:
    if aime is None:
        return []
    configured = aime.configuration
    statics = [*configured.server.statics, *(each for one in configured.endpoints.values() for each in one.statics)]
    templates = [each for one in configured.endpoints.values() for each in one.templates]
    return [AimeApp(aime, AimePages(statics, templates), [*taken, *OWN_PATHS])]


def at_configured_address(settings: Settings) -> Settings:
    """Return the settings with the address of aime's server configuration, where no other one is given.

    A host that other machines reach is left, with a warning, as long as nothing protects the rest of the server.
    Raises `SettingsInvalid`.
    """
    if settings.aime.server_config is None:
        return settings
    asked, own = aime_configuration.read_server(settings.aime.server_config), settings.server
    address = {"port": asked.port, "host": asked.host}
    changes = {key: value for key, value in address.items() if value is not None and key not in own.model_fields_set}
    host = changes.get("host", own.host)
    if not (is_loopback(str(host)) or settings.auth.keys or settings.tls.verify_client or own.insecure):
        log.warning("%s asks for %s, which needs [auth] keys or --insecure", settings.aime.server_config, host)
        changes.pop("host", None)
    return settings.model_copy(update={"server": own.model_copy(update=changes)})


def _servables(catalog: Catalog, folders: list[Path], runtime_name: str, threads: int) -> list[Version]:
    """Return what the mindspore wire serves: models by their manifests, and configured ones in their place."""
    manifests = catalog.models(ModelRef())
    versions = {(each.servable.name, each.number): each for each in manifest_methods.versions(manifests)}
    for directory, name in configurations.find(folders):
        place = configurations.Place(directory=directory, name=name, framework=runtime_name)
        try:
            loaded = configurations.load_all(place, threads=threads)
        except ServableInvalid as fault:
            log.error("a servable is left out: %s", fault)
            continue
        versions = {key: each for key, each in versions.items() if key[0] != name}
        versions |= {(name, each.number): each for each in loaded}
    return list(versions.values())


def _memory_limit(settings: Settings, runtime: Runtime) -> Callable[[DeviceRef], int]:
    """Return how much of a device a process's models may take: its share of what all may."""
    configured = settings.models.memory_mb * 2**20

    def limit(device: DeviceRef) -> int:
        return (configured or runtime.capacity_bytes(device) // 2) // settings.server.processes

    return limit


def _fetch_limits(settings: Settings) -> FetchLimits:
    fetch = settings.fetch
    return FetchLimits(
        allow_hosts=tuple(fetch.allow_hosts),
        schemes=tuple(fetch.schemes),
        ports=tuple(fetch.ports),
        connect_s=fetch.connect_s,
        total_s=fetch.total_s,
        max_bytes=fetch.max_mb * 2**20,
        max_redirects=fetch.max_redirects,
        per_owner=fetch.per_owner,
        in_all=fetch.in_all,
    )


def _any_name(settings: Settings, auth: Authenticator) -> bool:
    """A key can't be had by a page that only borrowed this machine's address."""
    return auth.required or settings.server.insecure
