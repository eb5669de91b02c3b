"""Plots of what a call costs against the number of live enclaves: one SVG for each group of calls."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, NullLocator

from benchmarks.measure import Row
from benchmarks.scale import ENCLAVE_CALLS, LIFE

GROUPS: dict[str, Sequence[str]] = {"life-cycle": LIFE, "calls": tuple(ENCLAVE_CALLS)}
COLUMNS = 3
PANEL = (2.9, 2.0)
"""Width and height of one plot, in inches."""

INK = "#808890"
MEDIAN = "#2f8fd8"
P99 = "#d9822b"
"""Colours that can be read on white and on black alike: nobody knows on which the page will be."""

STYLE = {
    "svg.fonttype": "none",  # text stays text: small, and the reader's own font
    "svg.hashsalt": "penglai",  # else ids are random, and every run changes every line
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # which comes with matplotlib: sizes are the same everywhere
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "ytick.major.size": 0,
    "grid.color": INK,
    "grid.alpha": 0.25,
}


@dataclass(frozen=True)
class Point:
    """What a call costs, in µs, while so many enclaves are alive."""

    live: int
    p50: float
    p99: float


def points(rows: Sequence[Row], call: str) -> list[Point]:
    """Those of one call, the fewest live ones first."""
    found = []
    for row in rows:
        match = re.fullmatch(re.escape(call) + r", ([\d,]+) live", row.what)
        if match and row.p99 is not None:
            found.append(Point(int(match[1].replace(",", "")), row.p50, row.p99))
    return sorted(found, key=lambda point: point.live)


def draw(rows: Sequence[Row], directory: Path) -> list[Path]:
    """Write a file for each group of which there are figures, and say which."""
    directory.mkdir(parents=True, exist_ok=True)
    written = []
    for name, calls in GROUPS.items():
        panels = {call: found for call in calls if (found := points(rows, call))}
        if panels:
            written.append(directory / f"{name}.svg")
            with mpl.rc_context(STYLE):
                _group(panels, written[-1])
    return written


def _group(panels: dict[str, list[Point]], path: Path) -> None:
    lines = math.ceil(len(panels) / COLUMNS)
    figure = Figure(figsize=(COLUMNS * PANEL[0], lines * PANEL[1] + 0.3), layout="constrained")
    grid = figure.subplots(lines, COLUMNS, squeeze=False).flatten()
    for axes, (call, found) in zip(grid, panels.items(), strict=False):
        _panel(axes, call, found)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False)
    figure.supxlabel("live enclaves", fontsize=8)
    figure.supylabel("µs", fontsize=8)
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(path, format="svg", transparent=True, metadata=nothing)


def _panel(axes: Axes, call: str, found: list[Point]) -> None:
    live = [point.live for point in found]
    axes.set_title(call)
    axes.plot(live, [point.p99 for point in found], "o--", color=P99, lw=1, ms=2.5, label="99th percentile")
    axes.plot(live, [point.p50 for point in found], "o-", color=MEDIAN, lw=1.6, ms=3.5, label="median")
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(FixedLocator(live))
    axes.xaxis.set_major_formatter(FixedFormatter([f"{count:,}" for count in live]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.1 * max(point.p99 for point in found))
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.grid(axis="y")
