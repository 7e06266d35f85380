"""Models on PyTorch. The only importer of torch; imports only core.

`runtime.py` answers the engine, `formats.py` reads weights files, `architectures.py` finds the code that they need,
`archives.py` keeps pickled code out, `loaded.py` and `batches.py` run a model on a batch. `tuner.py` says when a model
is tuned, `tune.py` how: it tries the ways of `executions.py` and `graphs.py` on the inputs of `examples.py`.
`traced.py` runs a batch to look inside: its layers (`layers.py`), and what torch's profiler saw (`profiled.py`).
"""

import os

# The profiler's library would write lines of its own to the standard error; it reads this once, when torch is loaded.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

from stepscope.runtimes.torch.runtime import TorchRuntime

__all__ = ["TorchRuntime"]
