"""The method `predict` of lenet: an image of a digit to the digit."""

import numpy as np

from stepscope.codecs.images import decode, preprocess
from stepscope.core.manifests import ImageSpec
from stepscope.mindspore import register

SPEC = ImageSpec(dimensions=(1, 28, 28), scale=(255.0,), layout="CHW", color_mode="L")
"""As in the manifest: one grey channel, 28 by 28 pixels, 0 to 1."""

lenet = register.declare_model(model_file="lenet.safetensors", model_format="safetensors")


def read_image(image):
    """Return the input of the model for an image file."""
    return preprocess(decode(image.tobytes(), SPEC), SPEC)


def best_class(scores):
    """Return the digit with the highest score."""
    return int(np.argmax(scores))


@register.register_method(output_names=["result"])
def predict(image):
    """Recognise a digit in a JPEG, PNG or WebP file."""
    pixels = register.add_stage(read_image, image, outputs_count=1, tag="Preprocess")
    scores = register.add_stage(lenet, pixels, outputs_count=1)
    return register.add_stage(best_class, scores, outputs_count=1, tag="Postprocess")
