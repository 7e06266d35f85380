"""A servable for tests of the mindspore wire: a method for each thing that a stage can do."""

from pathlib import Path

CONFIGURATION = """
import time
import numpy as np
from stepscope.mindspore import register

add = register.declare_model("add.pt2", "TORCH_EXPORT", inputs=[("float32", [2, 2]), ("float32", [2, 2])])
whole = register.declare_model("whole.ts", "TorchScript", with_batch_dim=False)


@register.register_method(output_names=["x"])
def same(x):
    return x


@register.register_method(output_names="y")
def given(x1, x2):
    y, _ = register.add_stage(add, x1, x2, outputs_count=2)
    return y


@register.register_method(output_names=["z", "a"])
def two(a, b):
    return b, a


def stage(name, function, tag=None, outputs=1, batch_size=None):
    function.__name__ = name

    def method(x):
        return register.add_stage(function, x, outputs_count=outputs, tag=tag, batch_size=batch_size)

    method.__name__ = name
    names = ["y"] if outputs == 1 else [f"y{place}" for place in range(outputs)]
    register.register_method(output_names=names)(method)


def fails_on(value):
    def function(x):
        if x == value:
            raise ValueError(f"no {value} please")
        return x
    return function


def listed(instances):
    if any(x == 3 for x, in instances):
        raise ValueError("no 3 in a list")
    return [(x,) for x, in instances]


def generated(instances):
    for x, in instances:
        if x == 3:
            raise ValueError("no 3 from a generator")
        yield x


def slow(x):
    time.sleep(float(x))
    return x


def kinds(x):
    return {
        "int": 5, "float": 0.5, "bool": True, "str": "\\u00fc", "bytes": b"ab", "half": np.float16(0.1),
        "empty": np.zeros((0, 3)), "none": None, "dict": {}, "complex": 1j, "object": np.array([object()]),
        "big": 2**70, "turned": np.arange(6).reshape(2, 3).T, "rows": np.zeros((3, 0)),
        "special": np.array([np.nan, np.inf, -np.inf, -0.0, 1e22, 1e15, 1e-5]),
        "unsigned": np.uint64(2**64 - 1), "surrogate": "\\ud800",
    }[x]


stage("picky", fails_on(3))
stage("tagged", fails_on(3), tag="Preprocess")
stage("listed", listed, batch_size=0)
stage("generated", generated, batch_size=4)
stage("slow", slow)
stage("kinds", kinds)
stage("long", lambda x: (_ for _ in ()).throw(ValueError("\\u00fc" * 500)))
stage("none", lambda x: None)
stage("more", lambda x: (x, x, x), outputs=2)
stage("fewer", lambda instances: [], batch_size=2)
stage("argmax", lambda x: np.argmax(x))
stage("called", lambda x: add.call(x, x)[0])
stage("leaving", lambda x: exit())
"""


def write(
    folder: Path, configuration: str = CONFIGURATION, name: str = "wire", versions: tuple[str, ...] = ("1", "3")
) -> Path:
    """Write a servable, whose model files are empty: the echo runtime reads none."""
    for version in versions:
        place = folder / name / version
        place.mkdir(parents=True, exist_ok=True)
        for file in ("add.pt2", "whole.ts"):
            (place / file).touch()
    (folder / name / "servable_config.py").write_text(configuration)
    return folder
