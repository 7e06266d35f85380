"""Stepscope serves PyTorch models behind one OpenAPI contract and shows every step of a prediction."""

__version__ = "0.1.0"
