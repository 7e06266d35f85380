"""Ships the generated client with a wheel. An editable install reads it where `make generate` writes it."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipGenerated(BuildHookInterface[Any]):
    """Called by hatchling before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the generated package, unless the install is editable."""
        if version == "standard":
            build_data["force_include"]["../../generated/python/stepscope_generated"] = "stepscope_generated"
