"""Servers in this process: the whole stack over the echo runtime, with models that a test writes."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from stepscope.app.server import App
from stepscope.runtimes.echo import EchoModel, EchoRuntime

RAW = "inputs: [{type: raw, parameters: {element_type: float32}}]\noutput: {type: raw}\n"
PICTURE = (
    "inputs: [{type: image, parameters: {element_type: float32, layout: CHW, color_mode: L, "
    "dimensions: [1, 4, 5], scale: 255}}]\noutput: {type: classification, parameters: {probabilities_layer: 0}}\n"
)
"""Twenty pixels, which the echo runtime gives back as twenty classes."""


class Loading(EchoRuntime):
    """The echo runtime, with the models that it loaded."""

    def __init__(self) -> None:
        self.loaded: list[EchoModel] = []

    def load(self, manifest: Any, device: Any) -> EchoModel:
        self.loaded.append(super().load(manifest, device))
        return self.loaded[-1]

    @property
    def batches(self) -> list[int]:
        """The sizes of all batches that ran."""
        return [size for model in self.loaded for size in model.batches]


def write_model(folder: Path, name: str, shape: str = RAW, version: str = "1.0.0", **attributes: object) -> None:
    path = folder / name / version / "manifest.yaml"
    path.parent.mkdir(parents=True)
    shown = "".join(f"  {key}: '{value}'\n" for key, value in attributes.items())
    path.write_text(
        f"name: {name}\nversion: {version}\nframework: {{name: Echo, version: '1'}}\n{shape}"
        f"attributes:\n  kind: test\n{shown}"
    )


def write_models(folder: Path) -> Path:
    """Write a model of each kind, and return the folder."""
    write_model(folder, "echo")
    write_model(folder, "sum", echo="sum")
    write_model(folder, "slow", delay_s=0.3, echo="sum")
    write_model(folder, "picky", fail="negative")
    write_model(folder, "broken", fail="load")
    write_model(folder, "failing", fail="predict")
    write_model(folder, "picture", PICTURE)
    return folder


@contextlib.asynccontextmanager
async def running(app: App) -> AsyncIterator[App]:
    """Run an app's life around the block, as uvicorn does."""
    inbox: asyncio.Queue[Any] = asyncio.Queue()
    outbox: asyncio.Queue[Any] = asyncio.Queue()
    life = asyncio.ensure_future(app.asgi({"type": "lifespan"}, inbox.get, outbox.put))
    await inbox.put({"type": "lifespan.startup"})
    assert (await outbox.get())["type"] == "lifespan.startup.complete"
    try:
        yield app
    finally:
        await inbox.put({"type": "lifespan.shutdown"})
        assert (await outbox.get())["type"] == "lifespan.shutdown.complete"
        await life
