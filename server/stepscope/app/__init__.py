"""The one place that builds everything from settings: a server, a worker of another server, a tuned model.

`server.py` joins `backend.py`, which the modules beside it build in their turn, and the wires. `worker.py` builds a
worker, `runtime.py` tunes. The parent of several processes imports `listening.py` and `records.py` alone.
"""
