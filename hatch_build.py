"""Ships the bundled contract with a wheel. An editable install reads it where `make generate` writes it."""

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ShipContract(BuildHookInterface[Any]):
    """Called by hatchling before it builds."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the contract, unless the install is editable."""
        if version == "standard":
            build_data["force_include"]["generated/openapi.yaml"] = "stepscope_api/openapi.yaml"
