"""Tables of what was found, and JSON that a later run is compared with."""

import json
import os
import platform
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measure import Bar, Report, Row

WIDTH = 120


def conditions() -> dict[str, str]:
    """What the figures depend on."""
    models = [
        line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
    ]
    return {
        "processor": models[0].partition(": ")[2] if models else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "python": platform.python_version(),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def short(value: float | None) -> str:
    """Three digits that mean something."""
    if value is None:
        return ""
    if value and abs(value) < 0.1:
        return f"{value:.3f}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def print_rows(title: str, rows: list[Row], old: dict[str, float]) -> None:
    """old: earlier medians by row, or nothing."""
    table = Table(title=title)
    table.add_column("what")
    heads = ["n", "p50", "p99", "unit", "peer", "ratio"] + (["to before"] if old else [])
    for head in heads:
        table.add_column(head, justify="right" if head not in ("unit", "peer") else "left")
    for row in rows:
        peer = f"{short(row.peer)} {row.peer_name}" if row.peer is not None else ""
        cells = [str(row.count), short(row.p50), short(row.p99), row.unit, peer]
        cells.append(f"{row.ratio:.2f}" if row.ratio is not None else "")
        if old:
            cells.append(f"{row.p50 / old[row.what]:.2f}" if old.get(row.what) else "new")
        table.add_row(row.what, *cells)
    Console(width=WIDTH).print(table)


def print_bars(bars: list[Bar], before: dict[str, str], after: dict[str, str]) -> None:
    """The bars, kept or not, and under which conditions."""
    if bars:
        table = Table(title="Bars")
        table.add_column("what")
        for head in ("measured", "bar"):
            table.add_column(head, justify="right")
        table.add_column("ok?")
        for bar in bars:
            sign = "≥" if bar.least else "≤"
            cells = (f"{short(bar.measured)} {bar.unit}", f"{sign} {short(bar.limit)} {bar.unit}")
            table.add_row(bar.what, *cells, "yes" if bar.kept else "NO")
        Console(width=WIDTH).print(table)
    print(
        f"{before['processor']}, {before['cores']} cores, Python {before['python']}; "
        f"load {before['load']} before, {after['load']} after (this run included)"
    )


def save(path: Path, report: Report, under: dict[str, str]) -> None:
    """As JSON."""
    rows = {row.what: asdict(row) for row in report.rows}
    bars = {bar.what: {**asdict(bar), "kept": bar.kept} for bar in report.bars}
    path.write_text(json.dumps({"conditions": under, "rows": rows, "bars": bars}, indent=1))


def load(path: Path) -> dict[str, float]:
    """The medians of an earlier run, by row."""
    return {row.what: row.p50 for row in load_rows(path)}


def load_rows(path: Path) -> list[Row]:
    """The rows of an earlier run."""
    return [Row(**row) for row in json.loads(path.read_text())["rows"].values()]
