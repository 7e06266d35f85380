"""What `make demo` runs: twenty handwritten digits through the whole stack, by URL and as base64.

Starts a server and a file server on free ports of this machine, and stops them again whatever happens. The exit code
is 0 when at least 18 of the 20 were right both ways.
"""

import functools
import importlib.resources
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image
from rich.console import Console, Group
from rich.style import Style
from rich.table import Table
from rich.text import Text

from stepscope_client import Answer, Client, ClientError, Predictor, Result

ENOUGH = 18
START_S = 120.0
"""How long the server may take to start: the first import of torch reads a lot from the disk."""
DRAWN = (7, 8)
"""Cells and half cells of a digit's drawing: ten of them fill a line of 80."""


def main() -> int:
    """Run the demo and return the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # Unwinds as Ctrl-C does.
    console = Console()
    try:
        with ExitStack() as stack:
            samples = stack.enter_context(sample_files())
            files = stack.enter_context(file_server(samples[0].parent))
            with console.status("Starting the server ..."):
                client = stack.enter_context(started(files))
            return show(console, client, samples, files)
    except KeyboardInterrupt:
        return 130
    except (ClientError, OSError) as fault:
        console.print(f"The demo failed: {fault}", style="red", markup=False)
        return 1


def show(console: Console, client: Client, samples: list[Path], files: str) -> int:
    """Predict the samples both ways, print all, and return the exit code."""
    console.print(drawing(samples)) if console.color_system else None
    with client.open("lenet", batch_size=8, trace_level="APPLICATION_TRACE") as predictor:
        by_url, by_base64 = predict(predictor, samples, files)
    expected = [expected_label(sample) for sample in samples]
    right = [score(result, expected) for result in (by_url, by_base64)]
    console.print(answers_table(samples, expected, by_url, by_base64))
    console.print(steps_table(by_url, by_base64))
    console.print(f"{predictor.model} on {predictor.device}, {by_url.framework}; trace {predictor.trace_id}")
    if predictor.closed:
        console.print(f"The close gave back {predictor.closed.freed_bytes:,} bytes of weights.")
    console.print(f"Right: {right[0]} of {len(samples)} by URL, {right[1]} of {len(samples)} by base64.", style="bold")
    return 0 if min(right) >= ENOUGH else 1


def predict(predictor: Predictor, samples: list[Path], files: str) -> tuple[Result, Result]:
    """Predict the samples by URL and by base64."""
    # The first prediction of a process pays for things that are no step of the picture's.
    predictor.images(samples[:1])
    predictor.urls([f"{files}/{samples[0].name}"])
    by_url = predictor.urls((sample.name, f"{files}/{sample.name}") for sample in samples)
    return by_url, predictor.images((sample.name, sample) for sample in samples)


# --- what is shown -------------------------------------------------------------------------------


def answers_table(samples: list[Path], expected: list[str], by_url: Result, by_base64: Result) -> Table:
    """Return a line for each digit."""
    table = Table("file", "expected", "by URL", "by base64", "probability")
    for sample, label, one, other in zip(samples, expected, by_url, by_base64, strict=True):
        probability = f"{other.best.probability:.1%}" if other.features else ""
        table.add_row(sample.name, label, told(one, label), told(other, label), Text(probability, justify="right"))
    return table


def told(answer: Answer, expected: str) -> Text:
    """Return the best label, or the error, in the colour of its being right."""
    if answer.error is not None:
        return Text(answer.error.message, style="red")
    return Text(answer.best.label, style="green" if answer.best.label == expected else "red")


def steps_table(by_url: Result, by_base64: Result) -> Table:
    """Return the time of each step for one image on average."""
    names = list(dict.fromkeys(step.name for result in (by_url, by_base64) for step in result.steps))
    table = Table("step, ms per image", "by URL", "by base64")
    for name in names:
        table.add_row(name, *(milliseconds(result, name) for result in (by_url, by_base64)))
    whole = (f"{result.duration_s * 1000 / len(result):.2f}" for result in (by_url, by_base64))
    table.add_section()
    table.add_row("wall clock", *whole)
    return table


def milliseconds(result: Result, name: str) -> str:
    """Return a step's time for one image, or nothing where the step wasn't taken."""
    return "".join(f"{step.each_s * 1000:.2f}" for step in result.steps if step.name == name)


def drawing(samples: list[Path]) -> Group:
    """Draw the digits, ten in a line; a cell holds two pixels, the upper one as its letter's colour."""
    lines = []
    for start in range(0, len(samples), 10):
        pictures = [Image.open(sample).convert("L").resize(DRAWN) for sample in samples[start : start + 10]]
        lines += [*(drawn_line(pictures, row) for row in range(0, DRAWN[1], 2)), Text()]
    return Group(*lines)


def drawn_line(pictures: list[Image.Image], row: int) -> Text:
    """Draw two rows of pixels of pictures side by side."""
    line = Text()
    for picture in pictures:
        for column in range(DRAWN[0]):
            upper, lower = (int(picture.getpixel((column, row + below)) or 0) for below in (0, 1))  # type: ignore[arg-type]
            line.append("▀", Style(color=grey(upper), bgcolor=grey(lower)))
        line.append(" ")
    return line


def grey(value: int) -> str:
    """Return a grey as rich names colours."""
    return f"rgb({value},{value},{value})"


def expected_label(sample: Path) -> str:
    """Read the label that a sample's name tells, as in `07_label3.png`."""
    return sample.stem.rpartition("label")[2]


def score(result: Result, expected: list[str]) -> int:
    """Count the right answers."""
    return sum(
        bool(answer.features) and answer.best.label == label for answer, label in zip(result, expected, strict=True)
    )


# --- what is started -----------------------------------------------------------------------------


@contextmanager
def sample_files() -> Iterator[list[Path]]:
    """Give the sample digits that ship with the server."""
    shipped = importlib.resources.files("stepscope.builtin") / "lenet" / "samples"
    with importlib.resources.as_file(shipped) as folder:
        yield sorted(folder.glob("*.png"))


class QuietFiles(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - named above
        """Keep the terminal for the demo."""


class FileServer(ThreadingHTTPServer):
    """Takes all that a server under test may ask for side by side; beyond the backlog, connecting takes a second."""

    request_queue_size = 64


@contextmanager
def file_server(folder: Path) -> Iterator[str]:
    """Serve a folder on a free port of this machine; gives the address."""
    server = FileServer(("127.0.0.1", 0), functools.partial(QuietFiles, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def started(files: str) -> Iterator[Client]:
    """Start `stepscope serve` on a free port, allowed to fetch from the file server; gives a client of it."""
    program = Path(sys.executable).with_name("stepscope")
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "log").open("w+") as log:
        process = subprocess.Popen(  # noqa: S603 - our own program
            [program, "serve", "--port", "0", "--log-level", "warning"],
            cwd=folder,  # no stepscope.toml of somebody's
            env=environment(files),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            with Client(announced(process, Path(log.name))) as client:
                wait_until_ready(client, process)
                yield client
        finally:
            stop(process)


def environment(files: str) -> Mapping[str, str]:
    """Return the server's environment: nothing configured but what it may fetch."""
    plain = {name: value for name, value in os.environ.items() if not name.startswith("STEPSCOPE_")}
    return plain | {"STEPSCOPE_FETCH__ALLOW_HOSTS": json.dumps([files.removeprefix("http://")])}


def announced(process: "subprocess.Popen[str]", log: Path) -> str:
    """Return the address that the server prints when it has its port."""
    hung = threading.Timer(START_S, process.kill)
    hung.start()
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"listens on (\S+)", line):
                return found[1]
    finally:
        hung.cancel()
    raise ClientError(f"the server didn't start. It says:\n{log.read_text().strip()}")


def wait_until_ready(client: Client, process: "subprocess.Popen[str]") -> None:
    """Wait until predictions are taken: the port is there a little before."""
    until = time.monotonic() + START_S
    while not client.is_ready():
        if process.poll() is not None or time.monotonic() > until:
            raise ClientError("the server announced itself and didn't get ready")
        time.sleep(0.05)


def stop(process: "subprocess.Popen[str]") -> None:
    """Stop the server, gently first."""
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout:
        process.stdout.close()


if __name__ == "__main__":
    sys.exit(main())
