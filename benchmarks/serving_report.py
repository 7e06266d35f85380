"""The closed loop's results as tables of ratios."""

from collections.abc import Callable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.sides import OURS
from benchmarks.turns import Spread, shown

Rounds = Sequence[dict[str, float]]
Result = dict[str, Any]


def spread(rounds: Rounds, key: str) -> Spread:
    """Summarise one figure of the rounds."""
    return Spread.of([point[key] for point in rounds])


def show(subject: str, result: Result, console: Console) -> None:
    """Print throughput, latency, and what each request costs."""
    console.print(_figures(subject, result))
    console.print(_ratios(subject, result))
    console.print(_limit(subject, result))
    for name, reason in result["missing"].items():
        console.print(f"[red]{name} isn't measured: {reason}[/]")


def _figures(subject: str, result: Result) -> Table:
    table = Table(title=f"{subject}, closed loop: medians of the rounds, least-most")
    for column in ("connections", "side", "answers/s", "p50 ms", "p99 ms", "CPU ms each", "memory MB", "errors"):
        table.add_column(column, justify="left" if column == "side" else "right", no_wrap=True)
    for count in result["sides"][OURS]:
        for side, by_count in result["sides"].items():
            rounds = by_count[count]
            figures = [str(spread(rounds, key)) for key in ("requests_per_s", "p50_ms", "p99_ms")]
            costs = [shown(spread(rounds, key).median) for key in ("cpu_ms", "memory_mb")]
            errors = round(sum(point["errors"] for point in rounds))
            table.add_row(count, side, *figures, *costs, f"[bold red]{errors}[/]" if errors else "0")
        table.add_section()
    return table


def _ratios(subject: str, result: Result) -> Table:
    table = Table(title=f"{subject}: ours against each, rounds paired; more is better for us")
    table.add_column("connections", justify="right")
    peers = [side for side in result["facts"] if side != OURS]
    for peer in peers:
        table.add_column(f"{peer}\nanswers/s", justify="right")
        table.add_column("\np50", justify="right")
        table.add_column("\np99", justify="right")
    for count, ours in result["sides"][OURS].items():
        cells = []
        for peer in peers:
            theirs = result["sides"][peer][count]
            cells.append(str(paired(ours, theirs, lambda o, t: o["requests_per_s"] / t["requests_per_s"])))
            cells += [str(paired(ours, theirs, _latency(key))) for key in ("p50_ms", "p99_ms")]
        table.add_row(count, *cells)
    return table


def paired(ours: Rounds, theirs: Rounds, ratio: Callable[[dict[str, float], dict[str, float]], float]) -> Spread:
    """Summarise the ratios of what was measured in the same round."""
    return Spread.of([ratio(o, t) if t["requests"] else float("inf") for o, t in zip(ours, theirs, strict=True)])


def _latency(key: str) -> Callable[[dict[str, float], dict[str, float]], float]:
    return lambda ours, theirs: theirs[key] / ours[key] if ours[key] else float("inf")


def limits(result: Result, batch: int, way: str = "") -> Spread:
    """Summarise the in-process limit at a batch size: each round's best, or its best in one way."""
    best = [
        max(entry["images_per_s"] for entry in found if entry["batch"] == batch and way in ("", entry["way"]))
        for found in result["limit"]
    ]
    return Spread.of(best)


def _limit(subject: str, result: Result) -> Table:
    table = Table(title=f"{subject}: our share of the in-process limit")
    for column in ("side", "connections", "batch of the limit", "images/s", "of the best", "of the same execution"):
        table.add_column(column, justify="left" if column == "side" else "right")
    for side, by_count in result["sides"].items():
        if not side.startswith(OURS):
            continue
        for count, rounds in by_count.items():
            batch = 1 if side == OURS and count == "1" else 32
            rate = spread(rounds, "requests_per_s").median
            best, same = limits(result, batch).median, limits(result, batch, "server").median
            table.add_row(side, count, str(batch), shown(rate), f"{rate / best:.0%}", f"{rate / same:.0%}")
    table.caption = "; ".join(
        f"batch {batch}: {shown(limits(result, batch).median)} img/s, "
        f"as the server runs {shown(limits(result, batch, 'server').median)}"
        for batch in (1, 32)
    )
    return table
