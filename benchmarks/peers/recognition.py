"""What every peer serves: a base64 picture to the five likeliest classes. The servers around it differ.

Runs in the peers' environments, with torch, numpy and pillow. The environment variable BENCH_TASK names a JSON file:
architecture, class_name, weights, labels, mode, size, mean, scale.
"""

import base64
import importlib.util
import io
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

PORT = int(os.environ.get("BENCH_PORT", "0"))
MAX_BATCH = 64
"""The same for all that batch; ours by default too."""
TOP = 5


class Recognition:
    """A model with what surrounds it."""

    def __init__(self) -> None:
        task = json.loads(Path(os.environ["BENCH_TASK"]).read_text())
        self._mode, self._size = task["mode"], tuple(task["size"])
        self._mean = np.array(task["mean"], np.float32).reshape(-1, 1, 1)
        self._scale = np.array(task["scale"], np.float32).reshape(-1, 1, 1)
        self._labels = task["labels"]
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self._model = _architecture(Path(task["architecture"]), task["class_name"])
        self._model.load_state_dict(load_file(task["weights"]))
        self._model.eval().to(self._device)
        print(f"BENCH threads={torch.get_num_threads()} torch={torch.__version__}", file=sys.stderr, flush=True)

    def decode(self, text: str) -> torch.Tensor:
        """Return a picture as (channels, height, width), normalised."""
        image = Image.open(io.BytesIO(base64.b64decode(text))).convert(self._mode)
        if image.size != self._size:
            image = image.resize(self._size, Image.Resampling.BILINEAR)
        pixels = np.asarray(image, np.float32)
        pixels = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return torch.from_numpy((pixels - self._mean) / self._scale)

    def probabilities(self, images: torch.Tensor) -> torch.Tensor:
        """Run the model on (batch, channels, height, width)."""
        with torch.inference_mode():
            return torch.softmax(self._model(images.to(self._device)), 1).cpu()

    def answers(self, probabilities: torch.Tensor) -> list[dict]:
        """Return the five likeliest classes of each row."""
        values, indices = probabilities.topk(TOP, 1)
        return [
            {"top": [{"index": i, "label": self._labels[i], "probability": p} for p, i in zip(*row, strict=True)]}
            for row in zip(values.tolist(), indices.tolist(), strict=True)
        ]

    def recognise(self, texts: list[str]) -> list[dict]:
        """Answer a batch of base64 pictures."""
        return self.answers(self.probabilities(torch.stack([self.decode(text) for text in texts])))


def _architecture(path: Path, name: str) -> torch.nn.Module:
    spec = importlib.util.spec_from_file_location("bench_architecture", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return getattr(module, name)()
