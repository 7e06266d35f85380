"""The aime dialect and its wire, where they are configured."""

from collections.abc import Iterable

from stepscope import __version__
from stepscope.core.ports import SessionStore
from stepscope.dialects.aime import configuration
from stepscope.dialects.aime.aime import Aime
from stepscope.dialects.aime.model_runs import ModelRuns
from stepscope.dialects.mlmodelscope.wire import write_json_feature
from stepscope.engine.engine import Engine
from stepscope.engine.jobs import Jobs
from stepscope.settings import Settings
from stepscope.web.aime import AimeApp
from stepscope.web.aime_pages import AimePages
from stepscope.web.root import Wire

OWN_PATHS = ("/ui", "/metrics", "/openapi.json", "/openapi.yaml", "/traces", "/trace", "/model", "/version")
"""Paths beside the contract's that a dialect's own may not begin like."""


def build_aime(settings: Settings, engine: Engine, jobs: Jobs, sessions: SessionStore) -> Aime | None:
    """Return the aime dialect with what is configured; None where nothing is. Raises `SettingsInvalid`."""
    options = settings.aime
    if not options.endpoints and options.server_config is None:
        return None
    configured = configuration.load(options.endpoints, options.server_config)
    runs = ModelRuns(configured, engine, jobs, write_json_feature)
    return Aime(configured, jobs, sessions, runs, __version__, attempts=settings.jobs.attempts)


def aime_wires(aime: Aime | None, taken: Iterable[str]) -> list[Wire]:
    """Return the dialect's wire, if there is one. Its own paths may not begin like those `taken`."""
    if aime is None:
        return []
    configured = aime.configuration
    statics = [*configured.server.statics, *(each for one in configured.endpoints.values() for each in one.statics)]
    templates = [each for one in configured.endpoints.values() for each in one.templates]
    return [AimeApp(aime, AimePages(statics, templates), [*taken, *OWN_PATHS])]
