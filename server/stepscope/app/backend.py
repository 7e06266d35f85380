"""What a server has behind its wires: the engine, jobs, traces, and where all of it is kept."""

import asyncio
from dataclasses import dataclass

from stepscope.app.aime import build_aime
from stepscope.app.engine import build_catalog, build_engine, build_fetcher, repositories
from stepscope.app.mindspore import find_versions
from stepscope.app.native_jobs import NativeJobs, build_native_jobs
from stepscope.app.records import build_jobs, build_store
from stepscope.app.traces import build_tracer
from stepscope.core.ports import Runtime, SessionStore
from stepscope.dialects.aime.aime import Aime
from stepscope.dialects.mlmodelscope.job_work import JobWork
from stepscope.dialects.mlmodelscope.responses import Responses
from stepscope.engine.catalog import Catalog
from stepscope.engine.datasets import Datasets
from stepscope.engine.engine import Engine
from stepscope.engine.evaluations import Evaluations
from stepscope.engine.fetch import Fetcher
from stepscope.engine.jobs import Jobs
from stepscope.engine.servables import Servables
from stepscope.settings import Settings
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore
from stepscope.tracing.tracer import Tracer


@dataclass(frozen=True, slots=True, kw_only=True)
class Backend:
    """What starts before a server's first request, and stops after its last."""

    settings: Settings
    catalog: Catalog
    datasets: Datasets
    store: MemoryStore | CachedStore
    jobs: Jobs
    sessions: SessionStore
    fetcher: Fetcher
    engine: Engine
    evaluations: Evaluations
    servables: Servables
    tracer: Tracer
    native_jobs: NativeJobs
    aime: Aime | None

    async def start(self) -> None:
        """Read the models, open the stores, and begin to work."""
        self.catalog.scan()
        self.datasets.scan()
        await self.store.start()
        await self.jobs.start()
        for version in find_versions(self.settings, self.catalog, self.engine.runtime.framework_name):
            self.servables.put(version)
        await self.fetcher.start()
        await self.engine.start()
        self.tracer.start()
        self.native_jobs.start()
        if self.aime is not None:
            self.aime.start()

    async def stop(self) -> None:
        """Stop what asks for work before what does it, and the stores after both."""
        self.servables.stop()
        await self.native_jobs.stop()
        if self.aime is not None:
            await self.aime.stop()
        await self.engine.stop()
        await self.fetcher.close()
        await self.jobs.stop()
        await self.store.stop()
        await asyncio.to_thread(self.tracer.stop)


def build_backend(settings: Settings, runtime: Runtime, responses: Responses) -> Backend:
    """Build it all. Raises `SettingsInvalid`."""
    fetcher = build_fetcher(settings)
    catalog = build_catalog(settings, runtime)
    datasets = Datasets(repositories(settings))
    store = build_store(settings)
    jobs, sessions = build_jobs(settings)
    engine = build_engine(settings, runtime, fetcher, catalog, store)
    tracer = build_tracer(settings)
    evaluations = Evaluations(engine, datasets)
    work = JobWork(engine, evaluations, tracer.begin, tracer.finish, responses)
    return Backend(
        settings=settings,
        catalog=catalog,
        datasets=datasets,
        store=store,
        jobs=jobs,
        sessions=sessions,
        fetcher=fetcher,
        engine=engine,
        evaluations=evaluations,
        servables=Servables(engine),
        tracer=tracer,
        native_jobs=build_native_jobs(settings, engine, jobs, fetcher, tracer, work),
        aime=build_aime(settings, engine, jobs, sessions),
    )
