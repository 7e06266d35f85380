"""MindSpore Serving's RESTful wire: typed tensors in JSON, methods with stages, errors told by the body."""
