"""The YAML files that an operator writes beside models and datasets."""

from pathlib import Path
from typing import Any

import yaml

from stepscope.core.errors import ManifestInvalid

_LARGEST_BYTES = 2**20


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a version stays as it was written: 1.10 is not the number 1.1."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        for key, value in node.value:
            if key.value == "version" and isinstance(value, yaml.ScalarNode):
                value.tag = "tag:yaml.org,2002:str"
        return super().construct_mapping(node, deep)


def read_yaml(path: Path) -> object:
    """Return the document in a YAML file. Raises `ManifestInvalid`."""
    try:
        if path.stat().st_size > _LARGEST_BYTES:
            raise ManifestInvalid(path, "file", f"is larger than {_LARGEST_BYTES} bytes")
        document: object = yaml.load(path.read_bytes(), _Loader)  # noqa: S506 - a SafeLoader
    except (OSError, UnicodeDecodeError, yaml.YAMLError, ValueError, RecursionError) as fault:
        raise ManifestInvalid(path, "file", f"isn't YAML: {' '.join(str(fault).split())}") from fault
    return document
