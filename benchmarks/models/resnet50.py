"""A ResNet-50 with random weights, written as a model repository's folder."""

import hashlib
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

VERSION = "1.0.0"
ARCHITECTURE = '''\
"""ResNet-50 (He et al., Deep residual learning for image recognition, 2015), strides in the 3x3 convolutions."""

import torch
from torch import nn

STAGES = ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2))


def normalised(inputs: int, outputs: int, size: int, stride: int = 1) -> list[nn.Module]:
    return [nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False), nn.BatchNorm2d(outputs)]


class Block(nn.Module):
    """1x1, 3x3, 1x1, with the input added to what comes of them."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *normalised(inputs, width, 1),
            nn.ReLU(inplace=True),
            *normalised(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *normalised(width, 4 * width, 1),
        )
        same = stride == 1 and inputs == 4 * width
        self.skip = nn.Identity() if same else nn.Sequential(*normalised(inputs, 4 * width, 1, stride))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return torch.relu(self.body(images) + self.skip(images))


class ResNet50(nn.Module):
    """Images of shape (batch, 3, height, width) to a thousand logits each."""

    def __init__(self) -> None:
        super().__init__()
        layers = [*normalised(3, 64, 7, 2), nn.ReLU(inplace=True), nn.MaxPool2d(3, 2, 1)]
        inputs = 64
        for width, count, stride in STAGES:
            for place in range(count):
                layers.append(Block(inputs, width, stride if place == 0 else 1))
                inputs = 4 * width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Linear(inputs, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(images).mean((2, 3)))
'''
MANIFEST = """\
name: resnet50
version: {version}
framework: {{name: PyTorch, version: ">=2.0.0, <3.0.0"}}
description: ResNet-50 with random weights, for measurements alone.
references: [https://arxiv.org/abs/1512.03385]
license: Apache-2.0
inputs:
  - type: image
    parameters:
      element_type: float32
      layout: CHW
      color_mode: RGB
      dimensions: [3, 224, 224]
      mean: [123.675, 116.28, 103.53]
      scale: [58.395, 57.12, 57.375]
output:
  type: classification
  parameters: {{probabilities_layer: 0, probabilities_transform: softmax, labels: labels.txt}}
model:
  weights_path: resnet50.safetensors
  weights_checksum: "sha256:{digest}"
  format: safetensors
  architecture: architecture.py:ResNet50
{execution}"""


def write(repository: Path, tolerance: float | None = None) -> Path:
    """Write the model below a repository, the same weights each time; return its folder.

    With a `tolerance` the manifest allows results that far from float32.
    """
    folder = repository / "resnet50" / VERSION
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "architecture.py").write_text(ARCHITECTURE)
    (folder / "labels.txt").write_text("".join(f"class {index}\n" for index in range(1000)))
    weights = folder / "resnet50.safetensors"
    save_file(model().state_dict(), weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    execution = f"execution: {{tolerance: {tolerance}}}\n" if tolerance else ""
    (folder / "manifest.yaml").write_text(MANIFEST.format(version=VERSION, digest=digest, execution=execution))
    return folder


def model() -> nn.Module:
    """Build the model with its random weights; the global random state stays as it was."""
    namespace: dict[str, type[nn.Module]] = {}
    exec(compile(ARCHITECTURE, "architecture.py", "exec"), namespace)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(50)
        return namespace["ResNet50"]().eval().requires_grad_(False)
