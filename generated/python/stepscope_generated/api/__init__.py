# flake8: noqa

__all__ = [
    "AimeApi",
    "JobsApi",
    "MindsporeApi",
    "PredictApi",
    "RegistryApi",
    "SystemApi",
    "TracesApi",
]

import typing as _typing

if _typing.TYPE_CHECKING:
    # import apis into api package
    from stepscope_generated.api.aime_api import AimeApi
    from stepscope_generated.api.jobs_api import JobsApi
    from stepscope_generated.api.mindspore_api import MindsporeApi
    from stepscope_generated.api.predict_api import PredictApi
    from stepscope_generated.api.registry_api import RegistryApi
    from stepscope_generated.api.system_api import SystemApi
    from stepscope_generated.api.traces_api import TracesApi
    
else:
    from importlib import import_module

    _exports = {
        "AimeApi": ".aime_api",
        "JobsApi": ".jobs_api",
        "MindsporeApi": ".mindspore_api",
        "PredictApi": ".predict_api",
        "RegistryApi": ".registry_api",
        "SystemApi": ".system_api",
        "TracesApi": ".traces_api",
    }

    def __getattr__(name: str) -> object:
        if (module_name := _exports.get(name)) is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        value = getattr(import_module(module_name, __name__), name)
        globals()[name] = value
        return value

    def __dir__() -> list[str]:
        return sorted(globals().keys() | _exports.keys())
