"""LeNet-5 with rectified linear units (LeCun et al., Gradient-based learning applied to document recognition, 1998)."""

import torch
from torch import nn


class LeNet(nn.Module):
    """Digits of shape (batch, 1, 28, 28), values 0 to 1, to ten logits each."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 6, 5, padding=2),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(16 * 5 * 5, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, 10),
        )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return the logits, (batch, 10)."""
        logits: torch.Tensor = self.classifier(self.features(images))
        return logits
