"""make bench: how fast it is, beside what a user would otherwise take, in one run on one machine."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import calls, compute, files, lifecycle, linux, process, scale, snapshots
from benchmarks.measure import Effort, Report
from benchmarks.output import conditions, load, load_rows, print_bars, print_rows, save

SUBJECTS: dict[str, tuple[str, Callable[[Report, Effort], None]]] = {
    "process": ("A process of the operating system", process.measure),
    "lifecycle": ("The life cycle", lifecycle.measure),
    "calls": ("Calls of an enclave", calls.measure),
    "compute": ("Compute", compute.measure),
    "snapshots": ("Snapshots", snapshots.measure),
    "scale": ("Many enclaves, much memory", scale.measure),
    "files": ("Files", files.measure),
    "linux": ("Linux as the host", linux.measure),
}


def main(arguments: list[str] | None = None) -> Report:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--quick", action="store_true", help="few rounds: the figures mean little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="show the ratio to these figures")
    parser.add_argument(
        "--plot", type=Path, metavar="DIRECTORY", help="draw costs against live enclaves there"
    )
    parser.add_argument("--load", type=Path, metavar="FILE.json", help="measure nothing, plot these figures")
    options = parser.parse_args(arguments)
    if options.load:
        report = Report(load_rows(options.load))
    else:
        report = run(options.only or list(SUBJECTS), Effort(options.quick), options.compare, options.json)
    if options.plot:
        plot(report, options.plot)
    return report


def run(subjects: list[str], effort: Effort, compare: Path | None, figures: Path | None) -> Report:
    """Measure these subjects and print what was found.  compare, figures: files to read and to write."""
    old = load(compare) if compare else {}
    report = Report()
    before = conditions()
    for name in subjects:
        title, measure = SUBJECTS[name]
        begun, first = time.monotonic(), len(report.rows)
        measure(report, effort)
        print_rows(f"{title} ({time.monotonic() - begun:.0f} s)", report.rows[first:], old)
    for note in report.notes:
        print(note)
    print_bars(report.bars, before, conditions())
    if figures:
        save(figures, report, before)
    return report


def plot(report: Report, directory: Path) -> None:
    """Draw it, and say where."""
    from benchmarks.plots import draw  # noqa: PLC0415 - to measure, nobody needs matplotlib

    written = draw(report.rows, directory)
    print(
        "wrote " + ", ".join(map(str, written))
        if written
        else "nothing to plot: that is of the subject scale"
    )


if __name__ == "__main__":
    main()
