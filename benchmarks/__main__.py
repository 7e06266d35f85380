"""Run the measurements: all, or those named."""

import signal
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from benchmarks import claims, contract_layer, gpu, growth, jobs, mindspore, open_loop, serving, tensors, tracing
from benchmarks.closed import WrkMissing, ensure_wrk
from benchmarks.machine import look, show
from benchmarks.plan import CONNECTIONS, QUICK_CONNECTIONS, SHARES, Plan
from benchmarks.processes import NotStarted
from benchmarks.sides import ALL_PEERS
from benchmarks.subjects import SUBJECTS

MEASUREMENTS: dict[str, Callable[[Plan, Console], Any]] = {
    "contract_layer": lambda _plan, _console: contract_layer.main(),
    "serving": serving.run,
    "open_loop": open_loop.run,
    "tensors": tensors.run,
    "growth": growth.run,
    "tracing": tracing.run,
    "mindspore": mindspore.run,
    "jobs": jobs.run,
    "gpu": gpu.run,
}
QUICK = ("contract_layer", "serving")


def _words(_context: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    known = ALL_PEERS if parameter.name == "peers" else SUBJECTS
    words = tuple(word for word in value.split(",") if word)
    if unknown := [word for word in words if word not in known]:
        raise click.BadParameter(f"{', '.join(unknown)}; known are {', '.join(known)}")
    return words


def _numbers(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    if value is None:
        return None
    words = value.split(",")
    if not all(word.isdecimal() and int(word) for word in words):
        raise click.BadParameter("give numbers above 0, with commas between them")
    return tuple(sorted({int(word) for word in words}))


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(MEASUREMENTS)))
@click.option("--quick", is_flag=True, help="The core alone: LeNet at 1 and 32 connections, in minutes.")
@click.option("--rounds", type=click.IntRange(1), help="Rounds in which the sides take turns; 5, quick 3.")
@click.option("--seconds", type=click.FloatRange(1.0), help="How long a point is measured; 5, quick 2.")
@click.option("--peers", callback=_words, help="Peers to measure, with commas between them; all if not given.")
@click.option("--models", callback=_words, help="Models to measure, with commas between them; all, quick lenet.")
@click.option("--connections", callback=_numbers, help="Connections of the closed loop; 1,8,32,256, quick 1,32.")
def main(
    names: tuple[str, ...],
    quick: bool,
    rounds: int | None,
    seconds: float | None,
    peers: tuple[str, ...] | None,
    models: tuple[str, ...] | None,
    connections: tuple[int, ...] | None,
) -> None:
    """Measure NAMES, or all."""
    console = Console(width=max(Console().width, 150))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the servers are ended too
    try:
        ensure_wrk()
    except WrkMissing as fault:
        raise click.ClickException(str(fault)) from fault
    machine = look()
    show(machine, console)
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        plan = Plan(
            machine=machine,
            scratch=Path(scratch),
            rounds=rounds or (3 if quick else 5),
            seconds=seconds or (2.0 if quick else 5.0),
            quick=quick,
            peers=tuple(ALL_PEERS) if peers is None else peers,
            subjects=models or (("lenet",) if quick else tuple(SUBJECTS)),
            connections=connections or (QUICK_CONNECTIONS if quick else CONNECTIONS),
            shares=SHARES,
        )
        chosen = names or (QUICK if quick else tuple(MEASUREMENTS))
        try:
            found = {name: MEASUREMENTS[name](plan, console) for name in chosen}
        except NotStarted as fault:
            raise click.ClickException(f"our own server doesn't start: {fault}") from fault
    claims.show(found, console)


if __name__ == "__main__":
    main()
