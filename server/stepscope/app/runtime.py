"""The torch runtime, and how much it tries to make models run faster.

torch takes seconds to import, so it is imported only when a model is to run.
"""

import asyncio
from dataclasses import replace

from stepscope.app.engine import build_fetcher, repositories
from stepscope.app.machine import share_of_cores
from stepscope.core.manifests import Manifest
from stepscope.core.ports import Runtime
from stepscope.core.predictions import ModelRef
from stepscope.core.tuning import Execution, TuningOptions
from stepscope.engine.catalog import Catalog
from stepscope.engine.weights import Weights
from stepscope.settings import Settings


def build_runtime(settings: Settings) -> Runtime:
    """Build the torch runtime, with a process's share of the cores."""
    from stepscope.runtimes.torch import TorchRuntime

    # The event loop needs a core of its own, or every answer waits for the model.
    threads = max(1, share_of_cores(settings) - 1)
    return TorchRuntime(threads, tuning_options(settings), settings.models.cache.expanduser() / "tuning")


def tuning_options(settings: Settings) -> TuningOptions:
    """Return how much is tried to make models run faster."""
    tuning = settings.tuning
    return TuningOptions(
        enabled=tuning.enabled,
        budget_s=tuning.budget_s,
        compile=tuning.compile,
        cap=settings.predict.batch_size,
        cores=share_of_cores(settings) if settings.server.processes > 1 else None,
    )


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
    fetcher = build_fetcher(settings)
    await fetcher.start()
    try:
        return await Weights(fetcher, settings.models.cache.expanduser()).find(manifest)
    finally:
        await fetcher.close()
