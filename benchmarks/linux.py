"""Linux as the host, beside the same kernel and ramfs on QEMU: boot, the price of system calls, the timer."""

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect
from rich.console import Console
from rich.table import Table

from benchmarks.measure import Series
from penglai import build
from penglai.guest.boot import Boot
from penglai.guest.image.build import build_image
from penglai.guest.image.current import Image
from penglai.sdk.hostbuild import build_host

QEMU = "qemu-system-riscv64"
HERE = Path(__file__).parent
PROMPT = "/ # "
PATIENCE = 300


@contextmanager
def booted(command: list[str]) -> Iterator["pexpect.spawn[str]"]:
    """A machine that is at its prompt."""
    child = pexpect.spawn(command[0], command[1:], timeout=PATIENCE, encoding="utf-8", echo=False)
    try:
        child.expect_exact(PROMPT)
        yield child
    finally:
        child.close(force=True)


def machines(image: Image, directory: Path, files: tuple[str, ...]) -> dict[str, list[str]]:
    """Commands that boot the same, by name."""
    initrd = directory / "initrd.cpio"
    initrd.write_bytes(Boot(image=image, files=files).software().initrd)
    boots = {"here": ["penglai", "boot", "--kernel", str(image.kernel), "--initrd", str(initrd)]}
    if shutil.which(QEMU):
        qemu = [QEMU, "-M", "virt", "-m", "256", "-nographic"]
        boots["QEMU"] = [*qemu, "-kernel", str(image.kernel), "-initrd", str(initrd)]
        boots["QEMU"] += ["-append", "console=hvc0 quiet"]
    return boots


def boot_times(boots: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """Seconds from the command to the prompt, by machine: medians of boots that take turns."""
    series = {name: Series(name) for name in boots}
    for _ in range(rounds):
        for name, command in boots.items():
            started = time.perf_counter_ns()
            with booted(command):
                series[name].times.append(time.perf_counter_ns() - started)
    return {name: found.percentile(0.5) / 1e6 for name, found in series.items()}


def figures_of(command: list[str], run: str) -> dict[str, float]:
    """Boot, run a program that writes lines of a name and a number, and return those."""
    with booted(command) as child:
        child.sendline(f"sh install.sh; {run}; echo end of fig''ures")  # as it is echoed it is not the end
        child.expect_exact("end of figures", timeout=None)
        text = child.before or ""
    lines = [line.strip().rpartition(": ") for line in text.splitlines() if ": " in line]
    return {name: float(value) for name, _, value in lines if value.isdigit()}


def main(rounds: int, idle: int) -> dict[str, dict[str, float]]:
    """Measure and print; figures by what and by machine.  idle: watch the timer for so many seconds."""
    image = build_image()
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = build_host(HERE / "guest.c", directory / "guest")
        quick = build(HERE / "quick.c", directory / "quick")
        boots = machines(image, directory, (f"guest={program}", f"quick={quick}"))
        figures = {"boot to the prompt (s)": boot_times(boots, rounds)}
        for machine, command in boots.items():
            for what, value in figures_of(command, "./guest").items():
                figures.setdefault(f"{what} (ns)", {})[machine] = value
        for what, value in figures_of(boots["here"], f"./guest {idle}").items():
            figures[what] = {"here": value}
    show(figures, list(boots))
    return figures


def show(figures: dict[str, dict[str, float]], names: list[str]) -> None:
    """A row for each figure, and the ratio to QEMU's."""
    table = Table(title=f"Linux as the host{'' if 'QEMU' in names else f' ({QEMU} is not installed)'}")
    table.add_column("what")
    for name in (*names, "ratio"):
        table.add_column(name, justify="right")
    for what, values in figures.items():
        cells = [_short(values[name]) if name in values else "" for name in names]
        ratio = f"{values['here'] / values['QEMU']:.2f}" if "QEMU" in values else ""
        table.add_row(what, *cells, ratio)
    Console(width=110).print(table)


def _short(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:,.0f}"
