"""A servable for the mindspore wire: a model that adds two 2x2 arrays, and a method that gives back what it gets."""

from pathlib import Path

import torch
from torch import nn

NAME = "adding"
CONFIGURATION = '''"""Adds two arrays."""

from stepscope.mindspore import register

model = register.declare_model(model_file="add.pt2", model_format="torch_export", with_batch_dim=False)


@register.register_method(output_names=["y"])
def add(x1, x2):
    """Add two 2x2 arrays of float32."""
    return register.add_stage(model, x1, x2, outputs_count=1)


def total(x):
    """Return the sum of an array."""
    return float(x.sum())


@register.register_method(output_names=["y"])
def taken(x):
    """Take an array, and give one number back."""
    return register.add_stage(total, x, outputs_count=1)


@register.register_method(output_names=["x"])
def same(x):
    """Give back what comes."""
    return x
'''


class Add(nn.Module):
    """The sum of two arrays."""

    def forward(self, x1: torch.Tensor, x2: torch.Tensor) -> torch.Tensor:
        """Return the sum."""
        return x1 + x2


def write(repository: Path) -> Path:
    """Write the servable into a repository and return its folder."""
    folder = repository / NAME
    (folder / "1").mkdir(parents=True, exist_ok=True)
    (folder / "servable_config.py").write_text(CONFIGURATION)
    program = torch.export.export(Add(), (torch.ones(2, 2), torch.ones(2, 2)))
    torch.export.save(program, folder / "1" / "add.pt2")
    return folder
