"""Models on PyTorch. The only importer of torch; imports only core.

`runtime.py` answers the engine, `formats.py` reads weights files, `architectures.py` finds the code that they need,
`archives.py` keeps pickled code out, and `batches.py` runs a model on a batch.
"""

from stepscope.runtimes.torch.runtime import TorchRuntime

__all__ = ["TorchRuntime"]
