"""Frames on the device: bytes go up, and become a model's input there, the whole batch at once."""

import functools
from collections.abc import Sequence

import numpy as np
import torch

from stepscope.core.frames import Bytes, normalised, per_channel
from stepscope.core.manifests import ImageSpec
from stepscope.core.predictions import Array


def on_device(spec: ImageSpec) -> bool:
    """Whether `to_inputs` knows what a manifest asks for; the rest is done by `on_host`."""
    return spec.element_type == "float32"


def to_inputs(images: torch.Tensor, spec: ImageSpec) -> torch.Tensor:
    """Return uint8 images, (batch, height, width, channels), as a model takes them: the same numbers as on the host.

    The result is a tensor of its own, contiguous.
    """
    if spec.color_mode == "BGR":
        images = images.flip(-1)
    if spec.layout == "CHW":
        images = images.permute(0, 3, 1, 2)
    values = images.to(torch.float32, memory_format=torch.contiguous_format)
    mean, scale = _operands(spec, images.device)
    if mean is not None:
        values.sub_(mean)
    return values if scale is None else values.div_(scale)


def on_host(images: Sequence[Array], spec: ImageSpec) -> Array:
    """Return uint8 images of one size, (height, width, channels) each, as an array of inputs, (batch, ...)."""
    stacked: Bytes = np.stack(images).astype(np.uint8, copy=False)
    return normalised(stacked, spec)


@functools.lru_cache(maxsize=64)
def _operands(spec: ImageSpec, device: torch.device) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    with torch.inference_mode(False):
        mean, scale = (None if each is None else torch.tensor(each).to(device) for each in per_channel(spec))
    return mean, scale
