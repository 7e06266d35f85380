"""A model that does next to nothing, so that what a tensor's way costs can be seen: the sum of each input's rows."""

from pathlib import Path

import torch
from safetensors.torch import save_file

NAME = "passing"
ARCHITECTURE = '''"""The mean of an input, and its opposite: two numbers of any tensor."""

import torch
from torch import nn


class Passing(nn.Module):
    """Any (batch, ...) to (batch, 2)."""

    def __init__(self) -> None:
        super().__init__()
        self.signs = nn.Parameter(torch.tensor([1.0, -1.0]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the means, (batch, 2)."""
        means = inputs.flatten(1).mean(1, keepdim=True)
        return means * self.signs
'''
MANIFEST = """name: {name}
version: {version}
framework: {{name: PyTorch, version: ">=2.0.0, <3.0.0"}}
license: Apache-2.0
inputs:
  - type: raw
    parameters: {{element_type: float32}}
output:
  type: classification
  parameters: {{element_type: float32, probabilities_layer: 0, probabilities_transform: softmax, labels: labels.txt}}
model:
  weights_path: weights.safetensors
  format: safetensors
  architecture: architecture.py:Passing
"""


def write(repository: Path, name: str = NAME, version: str = "1.0.0") -> Path:
    """Write the model into a repository and return its folder."""
    folder = repository / name / version
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "architecture.py").write_text(ARCHITECTURE)
    (folder / "manifest.yaml").write_text(MANIFEST.format(name=name, version=version))
    (folder / "labels.txt").write_text("more\nless\n")
    save_file({"signs": torch.tensor([1.0, -1.0])}, folder / "weights.safetensors")
    return folder
