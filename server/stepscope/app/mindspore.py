"""The mindspore wire, and the versions of servables that it serves from the start."""

import logging

from stepscope.app.engine import repositories
from stepscope.core.errors import ServableInvalid
from stepscope.core.predictions import ModelRef
from stepscope.dialects.mindspore import manifest_methods
from stepscope.dialects.mindspore.instances import Instances
from stepscope.engine import configurations
from stepscope.engine.catalog import Catalog
from stepscope.engine.servables import Servables, Version
from stepscope.settings import Settings
from stepscope.tracing.tracer import Tracer
from stepscope.web.auth import Authenticator
from stepscope.web.mindspore import MindsporeApp

log = logging.getLogger("stepscope.app")


def build_mindspore(settings: Settings, servables: Servables, tracer: Tracer, auth: Authenticator) -> MindsporeApp:
    """Build the mindspore wire."""
    options = settings.mindspore
    return MindsporeApp(
        Instances(servables, tracer.begin, wrap_integers=options.wrap_integers),
        auth,
        max_body_bytes=options.max_msg_mb * 2**20,
        http_status=options.http_status,
    )


def find_versions(settings: Settings, catalog: Catalog, framework: str) -> list[Version]:
    """Return what the wire serves: models by their manifests, and configured ones in their place. Imports code.

    `framework` names what runs the models that a configuration declares.
    """
    manifests = catalog.models(ModelRef())
    versions = {(each.servable.name, each.number): each for each in manifest_methods.versions(manifests)}
    for directory, name in configurations.find(repositories(settings)):
        place = configurations.Place(directory=directory, name=name, framework=framework)
        try:
            loaded = configurations.load_all(place, threads=settings.mindspore.stage_threads)
        except ServableInvalid as fault:
            log.error("a servable is left out: %s", fault)
            continue
        versions = {key: each for key, each in versions.items() if key[0] != name}
        versions |= {(name, each.number): each for each in loaded}
    return list(versions.values())
