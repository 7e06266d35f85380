"""Draw a results file as PNG beside it. Runs in an environment of its own, with matplotlib and nothing of ours."""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl  # type: ignore[import-not-found]

mpl.use("Agg")
import matplotlib.pyplot as plt  # type: ignore[import-not-found]

OURS = "stepscope"
COLOURS = {
    OURS: "#0b6e4f",
    "fastapi": "#e07a1f",
    "litserve": "#4c72b0",
    "bentoml": "#8172b3",
    "ray": "#c44e52",
    "limit": "#333333",
}
LATENCY, MEMORY, RATE, JSON_COLOUR = "#4c72b0", "#8172b3", "#0b6e4f", "#e07a1f"
BAR = 0.8


def colour(side: str) -> str:
    """Return a side's colour; more of ours is ours, lighter."""
    return COLOURS.get(side, "#7fc8a9")


def caption(figure: Any, machine: dict[str, Any]) -> None:
    """Say below on what it was measured."""
    busy = "" if machine["idle"] else "; THE MACHINE WASN'T IDLE"
    text = f"{machine['cpu']}, {machine['cores']} cores; commit {machine['commit']}; {machine['started'][:10]}{busy}"
    figure.text(0.5, 0.005, text, ha="center", va="bottom", fontsize=8, color="#777777")


def finish(figure: Any, machine: dict[str, Any], path: Path) -> None:
    """Save a figure."""
    caption(figure, machine)
    figure.tight_layout(rect=(0, 0.03, 1, 1))
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(path.name)


def _plain(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="#dddddd", linewidth=0.7)
    axes.set_axisbelow(True)


def _median(rounds: list[dict[str, float]], key: str) -> tuple[float, list[float]]:
    values = [point[key] for point in rounds]
    middle = statistics.median(values)
    return middle, [middle - min(values), max(values) - middle]


def serving(found: dict[str, Any], path: Path) -> None:
    """Throughput and p99 by connections: bars side by side, with the spread of the rounds."""
    for subject, result in found["subjects"].items():
        figure, (above, below) = plt.subplots(2, 1, figsize=(10, 8))
        alone = {side: points for side, points in result["sides"].items() if "," not in side}
        _bars(above, alone, "requests_per_s", "{:,.0f}")
        above.set_title(f"{subject}: answers per second, one image a request (more is better)")
        best = statistics.median(max(e["images_per_s"] for e in turn if e["batch"] == 32) for turn in result["limit"])
        above.axhline(best, color=COLOURS["limit"], linestyle="--", linewidth=1)
        note = f"in-process limit at batch 32: {best:,.0f}/s"
        above.annotate(note, (0.01, best), xycoords=("axes fraction", "data"), va="bottom", fontsize=9)
        above.legend(ncols=5, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.12))
        _bars(below, alone, "p99_ms", "{:,.1f}")
        below.set_yscale("log")
        below.set_title(f"{subject}: 99th percentile of latency, ms, logarithmic (less is better)")
        below.set_xlabel("connections, closed loop (wrk)")
        finish(figure, found["machine"], path.with_suffix(".png"))


def _bars(axes: Any, sides: dict[str, Any], key: str, form: str) -> None:
    counts = list(sides[OURS])
    width = BAR / len(sides)
    for place, (side, by_count) in enumerate(sides.items()):
        found = [_median(by_count[count], key) for count in counts]
        where = [x - BAR / 2 + (place + 0.5) * width for x in range(len(counts))]
        errors = [[spread[end] for _, spread in found] for end in (0, 1)]
        heights = [middle for middle, _ in found]
        axes.bar(where, heights, width * 0.92, yerr=errors, label=side, color=colour(side), ecolor="#555555", capsize=2)
        for x, (middle, spread) in zip(where, found, strict=True):
            axes.annotate(
                form.format(middle),
                (x, middle + spread[1]),
                ha="center",
                va="bottom",
                fontsize=7,
                xytext=(0, 2),
                textcoords="offset points",
            )
    axes.set_xticks(range(len(counts)), counts)
    axes.margins(y=0.12)
    _plain(axes)


def open_loop(found: dict[str, Any], path: Path) -> None:
    """p50 and p99 by the share of each side's own capacity."""
    for subject, result in found["subjects"].items():
        figure, both = plt.subplots(1, 2, figsize=(11, 5), sharey=True)
        for axes, key, name in zip(both, ("p50_ms", "p99_ms"), ("median", "99th percentile"), strict=True):
            for side, by_share in result["sides"].items():
                shares = [float(share) * 100 for share in by_share]
                points = [_median(rounds, key) for rounds in by_share.values()]
                middles = [max(middle, 1e-3) for middle, _ in points]
                errors = [[spread[end] for _, spread in points] for end in (0, 1)]
                capacity = statistics.median(result["capacities"][side])
                label = f"{side} (capacity {capacity:,.0f}/s)"
                axes.errorbar(shares, middles, yerr=errors, marker="o", capsize=3, color=colour(side), label=label)
            axes.set_yscale("log")
            axes.set_title(f"{subject}: {name} of latency, ms, from the intended time")
            axes.set_xlabel("offered load, % of the side's own capacity")
            axes.set_xticks([float(share) * 100 for share in found["shares"]])
            _plain(axes)
        both[0].legend(frameon=False, fontsize=9)
        finish(figure, found["machine"], path.with_suffix(".png"))


SERIES: list[tuple[str, str, str, str]] = [
    ("p50_ms", "median", LATENCY, "latency, ms"),
    ("p99_ms", "worst or p99", "#a8bfdf", "latency, ms"),
    ("json_p50_ms", "median, as JSON", JSON_COLOUR, "latency, ms"),
    ("open_ms", "open, median", "#555555", "latency, ms"),
    ("requests_per_s", "answers/s", RATE, "per second"),
    ("images_per_s", "images/s", RATE, "per second"),
    ("mb_per_s", "MB/s", RATE, "MB/s"),
    ("memory_mb", "memory", MEMORY, "MB"),
]


def growth(found: dict[str, Any], path: Path) -> None:
    """One picture for each thing that grows, with a panel for each unit."""
    for name, rows in found["growth"].items():
        units = list(dict.fromkeys(unit for key, _, _, unit in SERIES if any(key in row for row in rows)))
        figure, panels = plt.subplots(1, len(units), figsize=(5 * len(units), 4.2), squeeze=False)
        for axes, unit in zip(panels[0], units, strict=True):
            for key, label, shade, own in SERIES:
                points = [(row["count"], row[key]) for row in rows if own == unit and key in row]
                if points:
                    axes.plot(*zip(*points, strict=True), marker="o", color=shade, label=label)
            axes.set_xscale("log")
            axes.set_xlabel(name)
            axes.set_title(f"{unit} by {name}", fontsize=11)
            _scale(axes, unit)
            axes.legend(frameon=False, fontsize=9)
            _plain(axes)
        finish(figure, found["machine"], path.with_name(f"growth-{name.replace(' ', '-')}.png"))


def _scale(axes: Any, unit: str) -> None:
    if unit == "latency, ms":
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:g}"))
    else:
        axes.set_ylim(0, max(y for line in axes.lines for y in line.get_ydata()) * 1.2)
        axes.yaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda value, _: f"{value:,.0f}"))


DRAWERS: dict[str, Callable[[dict[str, Any], Path], None]] = {
    "serving": serving,
    "open_loop": open_loop,
    "growth": growth,
}


def main() -> None:
    """Draw the files named."""
    for argument in sys.argv[1:]:
        path = Path(argument)
        DRAWERS[path.stem.partition("-")[0]](json.loads(path.read_text()), path)


if __name__ == "__main__":
    main()
