"""Models on PyTorch. The only importer of torch; imports only core.

`runtime.py` answers the engine, `formats.py` reads weights files, `architectures.py` finds the code that they need,
`archives.py` keeps pickled code out, `loaded.py` and `batches.py` run a model on a batch. `tuner.py` says when a model
is tuned, `tune.py` how: it tries the ways of `executions.py` and `graphs.py` on the inputs of `examples.py`.
"""

from stepscope.runtimes.torch.runtime import TorchRuntime

__all__ = ["TorchRuntime"]
