"""The tag `system`: whether the server lives, is ready, and what it is made of."""

from stepscope.core.access import RequestContext
from stepscope.core.errors import ShuttingDown
from stepscope.engine.engine import Engine
from stepscope_api import models as wire


class System:
    """Signs of life, and versions. Implements the generated `SystemOperations`."""

    def __init__(self, engine: Engine, server: str, contract: str) -> None:
        self._engine = engine
        self._server = server
        self._contract = contract

    async def get_liveness(self, context: RequestContext) -> wire.Health:  # noqa: ARG002
        """Say that the process lives."""
        return wire.Health(status="ok")

    async def get_readiness(self, context: RequestContext) -> wire.Health:  # noqa: ARG002
        """Say whether predictions are taken. Raises `ShuttingDown` when they aren't."""
        if not self._engine.ready:
            raise ShuttingDown
        return wire.Health(status="ok")

    async def get_version(self, context: RequestContext) -> wire.Version:  # noqa: ARG002
        """Say what the server is made of."""
        runtime = self._engine.runtime
        framework = wire.FrameworkRef(name=runtime.framework_name, version=runtime.framework_version)
        return wire.Version(
            server=self._server,
            contract=self._contract,
            frameworks=[framework],
            devices=[str(device) for device in runtime.devices()],
        )
