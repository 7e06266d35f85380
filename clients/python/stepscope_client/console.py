"""The command `stepscope-client`: predicts a list of URLs. Its options are those of MLModelScope's old client."""

import sys
from collections.abc import Iterable
from typing import TextIO
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from stepscope_client.client import Client
from stepscope_client.errors import ClientError
from stepscope_client.predictor import Predictor
from stepscope_client.results import Answer
from stepscope_client.results import trace_url as trace_address
from stepscope_client.waterfall import draw, printable

BEST = 3
"""How many features of an input are shown."""
SMALLEST_PART = 32
LARGEST_PART = 4096
"""Inputs that are sent together: a batch's worth, but no request for each single one, and no more than are taken."""


def _option_name(name: str) -> str:
    """Let `--Batch-Size` be the same as `--batch_size`: the old client's options had capitals, and others dashes."""
    return name.lower().replace("-", "_")


@click.command(context_settings={"token_normalize_func": _option_name, "show_default": True})
@click.option("--mlmodelscope_url", default="http://127.0.0.1:8080", help="The server's address.")
@click.option(
    "--urls",
    "file",
    default="example.txt",
    type=click.File("r", encoding="utf-8-sig"),
    help="A file with an image's URL on each line; - reads the standard input.",
)
@click.option("--framework_name", default="PyTorch", help="The framework's name, or *.")
@click.option("--framework_version", default="*", help="A constraint on the framework's version, latest or *.")
@click.option("--model_name", default="lenet", help="The model's name.")
@click.option("--model_version", default="*", help="A constraint on the model's version, latest or *.")
@click.option("--batch_size", default=256, type=click.IntRange(1, 4096), help="Inputs that may run together.")
@click.option("--trace_url", help="The tracing server, at port 16686.  [default: the server's host]")
@click.option("--trace_level", default="STEP_TRACE", help="How deep the trace looks.")
@click.option("--trace", "shows", is_flag=True, help="Draw the trace at the end.")
@click.option("--job", "is_job", is_flag=True, help="Submit the list as a job, which outlives this command.")
@click.option("--ca", type=click.Path(exists=True, dir_okay=False), help="The CA of an https server's certificate.")
@click.option("--key", envvar="MLMODELSCOPE_KEY", help="The key for a server that asks for one; $MLMODELSCOPE_KEY.")
def main(
    mlmodelscope_url: str,
    file: TextIO,
    framework_name: str,
    framework_version: str,
    model_name: str,
    model_version: str,
    batch_size: int,
    trace_url: str | None,
    trace_level: str,
    shows: bool,
    is_job: bool,
    ca: str | None,
    key: str | None,
) -> None:
    """Predict the images whose URLs stand in a file, and print what the model sees in each."""
    urls = _read(file)
    try:
        with Client(mlmodelscope_url, key, ca=ca) as client:
            if is_job:
                job = client.submit(
                    model_name,
                    model_version,
                    urls=urls,
                    framework=framework_name,
                    framework_version=framework_version,
                    feature_limit=BEST,
                    batch_size=batch_size,
                    trace_level=trace_level,
                )
                click.echo(f"job {job.id}", err=True)
                answers, trace_id = list(job.wait(progress=True).result()), job.trace_id
            else:
                opened = client.open(
                    model_name,
                    model_version,
                    framework=framework_name,
                    framework_version=framework_version,
                    batch_size=batch_size,
                    trace_level=trace_level,
                )
                with opened as predictor:
                    answers = _predict(predictor, urls, max(SMALLEST_PART, min(batch_size, LARGEST_PART)))
                trace_id = predictor.trace_id
            trace = trace_address(trace_url or _site(client.url), trace_id)
            drawn = client.trace(trace_id) if shows else None
    except ClientError as fault:
        raise click.ClickException(str(fault)) from fault
    _show(urls, answers)
    if drawn is not None:
        draw(drawn, Console())
    click.echo(trace)
    failed = sum(answer.error is not None for answer in answers)
    if failed:
        raise click.ClickException(f"{failed} of {len(answers)} inputs failed.")


def _site(url: str) -> str:
    """Return a server's address without its port: the tracing port speaks TLS where the other does."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    return f"{parts.scheme}://[{host}]" if ":" in host else f"{parts.scheme}://{host}"


def _read(file: TextIO) -> list[str]:
    try:
        urls = [line.strip() for line in file if line.strip()]
    except UnicodeDecodeError as fault:
        raise click.ClickException(f"{file.name} isn't UTF-8 text: {fault.reason}.") from fault
    if not urls:
        raise click.ClickException(f"{file.name} holds no URL.")
    return urls


def _predict(predictor: Predictor, urls: list[str], part: int) -> list[Answer]:
    answers: list[Answer] = []
    for start in _tracked(range(0, len(urls), part), len(urls), part, f"{predictor.model} on {predictor.device}"):
        answers += predictor.urls(urls[start : start + part], feature_limit=BEST).answers
    return answers


def _tracked(starts: range, total: int, part: int, title: str) -> Iterable[int]:
    """Go through the parts with a progress bar on the standard error, so that the output can be piped."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=sys.stderr)) as progress:
        task = progress.add_task(title, total=total)
        for start in starts:
            yield start
            progress.update(task, completed=min(start + part, total))


def _show(urls: list[str], answers: list[Answer]) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("url", overflow="fold")
    table.add_column("features", overflow="fold")
    for url, answer in zip(urls, answers, strict=True):
        table.add_row(Text(printable(url)), _told(answer))
    Console().print(table)


def _told(answer: Answer) -> Text:
    if answer.error is not None:
        return Text(printable(f"{answer.error.message} ({answer.error.code})"), style="red")
    told = [f"{feature.label or feature.type} {feature.probability:.1%}" for feature in answer.features[:BEST]]
    return Text(printable(", ".join(told)))
