"""Why a model can't be loaded, in words that a client may read."""


class LoadFault(Exception):
    """A model can't be loaded; `str()` of it names no path and no text of another exception."""
