"""The tag `registry`: what can be served here, and where. Implements the generated `RegistryOperations`."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from stepscope.core.access import RequestContext
from stepscope.core.errors import FrameworkNotFound, ModelNotFound
from stepscope.core.manifests import Manifest, registry_view
from stepscope.core.predictions import ModelRef
from stepscope.dialects.mlmodelscope.executions import write_executions
from stepscope.dialects.mlmodelscope.wire import given
from stepscope.engine.engine import Engine
from stepscope_api import models as wire

Text = Annotated[str, Meta(max_length=128)] | UnsetType


class Registry:
    """Frameworks, models and agents. A server alone is the one agent of all its models."""

    def __init__(self, engine: Engine, agent: wire.Agent) -> None:
        self._engine = engine
        self._catalog = engine.catalog
        self._agent = agent

    async def list_frameworks(
        self,
        context: RequestContext,  # noqa: ARG002
        *,
        framework_name: Text = UNSET,
        framework_version: Text = UNSET,
    ) -> wire.FrameworkManifestsResponse:
        """List the frameworks that run here."""
        found = self._frameworks(framework_name, framework_version)
        return wire.FrameworkManifestsResponse(
            manifests=[wire.FrameworkManifest(name=name, version=version) for name, version in found]
        )

    async def list_framework_agents(
        self,
        context: RequestContext,  # noqa: ARG002
        *,
        framework_name: Text = UNSET,
        framework_version: Text = UNSET,
    ) -> wire.Agents:
        """List the machines that run a framework."""
        self._frameworks(framework_name, framework_version)
        return wire.Agents(agents=[self._agent])

    async def list_models(
        self,
        context: RequestContext,  # noqa: ARG002
        *,
        framework_name: Text = UNSET,
        framework_version: Text = UNSET,
        model_name: Text = UNSET,
        model_version: Text = UNSET,
    ) -> wire.ModelManifestsResponse:
        """List the models that can be opened here, and how those run that are loaded."""
        ref = _ref(framework_name, framework_version, model_name, model_version)
        views = [registry_view(manifest) for manifest in self._models(ref)]
        manifests = msgspec.convert(views, list[wire.ModelManifest])
        executions = write_executions(self._engine.running())
        for manifest in manifests:
            manifest.execution = executions.get((manifest.name, manifest.version), UNSET)
        return wire.ModelManifestsResponse(manifests=manifests)

    async def list_model_agents(
        self,
        context: RequestContext,  # noqa: ARG002
        *,
        framework_name: Text = UNSET,
        framework_version: Text = UNSET,
        model_name: Text = UNSET,
        model_version: Text = UNSET,
    ) -> wire.Agents:
        """List the machines that can run a model."""
        self._models(_ref(framework_name, framework_version, model_name, model_version))
        return wire.Agents(agents=[self._agent])

    def _models(self, ref: ModelRef) -> list[Manifest]:
        found = self._catalog.models(ref)
        if not found and ref != ModelRef():
            self._catalog.resolve(ref)  # says what there is instead
            raise ModelNotFound(ref.name, ref.version)
        return found

    def _frameworks(self, name: Text, version: Text) -> list[tuple[str, str]]:
        found = self._catalog.frameworks(given(name, "") or "*", given(version, "") or "*")
        if not found:
            known = [" ".join(framework) for framework in self._catalog.frameworks()]
            raise FrameworkNotFound(given(name, "*"), given(version, "*"), known)
        return list(found)


def _ref(framework_name: Text, framework_version: Text, model_name: Text, model_version: Text) -> ModelRef:
    return ModelRef(
        name=given(model_name, "") or "*",
        version=given(model_version, "") or "*",
        framework_name=given(framework_name, "") or "*",
        framework_version=given(framework_version, "") or "*",
    )
