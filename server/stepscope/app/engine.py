"""The engine, and the fetcher and the catalogue that it works with."""

from pathlib import Path

from stepscope.app.machine import share_of_cores, share_of_memory
from stepscope.core.admission import AdmissionLimits
from stepscope.core.ports import Runtime
from stepscope.engine.catalog import Catalog
from stepscope.engine.engine import Engine, EngineLimits
from stepscope.engine.fetch import Fetcher, FetchLimits
from stepscope.engine.models import Models
from stepscope.engine.pipeline import Pipeline
from stepscope.engine.plans import Plans
from stepscope.engine.predictors import Predictors
from stepscope.engine.weights import Weights
from stepscope.settings import BUILTIN, Settings
from stepscope.store.cached import CachedStore
from stepscope.store.memory import MemoryStore


def repositories(settings: Settings) -> list[Path]:
    """Return the model repositories that are served, in the order in which they are searched."""
    folders = [folder.expanduser() for folder in settings.models.folders]
    return [*folders, BUILTIN] if settings.models.builtin else folders


def build_catalog(settings: Settings, runtime: Runtime) -> Catalog:
    """Build the catalogue of the models that a runtime can run. Nothing is read before its `scan`."""
    framework = (runtime.framework_name, runtime.framework_version)
    return Catalog(repositories(settings), [framework], settings.models.aliases)


def build_fetcher(settings: Settings) -> Fetcher:
    """Build what makes outgoing requests."""
    fetch = settings.fetch
    limits = FetchLimits(
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
    return Fetcher(limits)


def build_engine(
    settings: Settings, runtime: Runtime, fetcher: Fetcher, catalog: Catalog, store: MemoryStore | CachedStore
) -> Engine:
    """Build the engine. It lets go of the predictors that another process removed from a shared store."""
    weights = Weights(fetcher, settings.models.cache.expanduser())
    engine = Engine(
        catalog=catalog,
        runtime=runtime,
        predictors=Predictors(store, settings.predict.lease_s),
        models=Models(runtime, weights.find, share_of_memory(settings, runtime)),
        plans=Plans(catalog, weights.find),
        pipeline=Pipeline(fetcher, workers=share_of_cores(settings)),
        limits=EngineLimits(
            admission=AdmissionLimits(in_flight=settings.limits.inputs, per_owner=settings.limits.inputs_per_owner),
            batch_size=settings.predict.batch_size,
            timeout_s=settings.predict.timeout_s,
        ),
    )
    if isinstance(store, CachedStore):
        store.removed = engine.dismiss
    return engine
