"""make bench: how fast it is, beside what a user would otherwise take, in one run on one machine."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

from benchmarks import calls, compute, lifecycle, linux, process, scale
from benchmarks.measure import Effort, Report
from benchmarks.output import conditions, load, print_bars, print_rows, save

SUBJECTS: dict[str, tuple[str, Callable[[Report, Effort], None]]] = {
    "process": ("A process of the operating system", process.measure),
    "lifecycle": ("The life cycle", lifecycle.measure),
    "calls": ("Calls of an enclave", calls.measure),
    "compute": ("Compute", compute.measure),
    "scale": ("Many enclaves, much memory", scale.measure),
    "linux": ("Linux as the host", linux.measure),
}


def main(arguments: list[str] | None = None) -> Report:
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--only", action="append", choices=SUBJECTS, metavar="NAME", help=", ".join(SUBJECTS))
    parser.add_argument("--quick", action="store_true", help="few rounds: the figures mean little")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    parser.add_argument("--compare", type=Path, metavar="OLD.json", help="show the ratio to these figures")
    options = parser.parse_args(arguments)
    old = load(options.compare) if options.compare else {}
    effort = Effort(options.quick)
    report = Report()
    before = conditions()
    for name in options.only or SUBJECTS:
        title, measure = SUBJECTS[name]
        begun, first = time.monotonic(), len(report.rows)
        measure(report, effort)
        print_rows(f"{title} ({time.monotonic() - begun:.0f} s)", report.rows[first:], old)
    for note in report.notes:
        print(note)
    print_bars(report.bars, before, conditions())
    if options.json:
        save(options.json, report, before)
    return report


if __name__ == "__main__":
    main()
