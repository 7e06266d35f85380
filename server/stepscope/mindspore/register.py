"""What a servable_config.py imports: `from stepscope.mindspore import register`."""

from stepscope.mindspore.context import AscendDeviceInfo, Context, CPUDeviceInfo, GPUDeviceInfo
from stepscope.mindspore.methods import add_stage, register_method
from stepscope.mindspore.models import Model, declare_model

__all__ = [
    "AscendDeviceInfo",
    "CPUDeviceInfo",
    "Context",
    "GPUDeviceInfo",
    "Model",
    "add_stage",
    "declare_model",
    "register_method",
]
