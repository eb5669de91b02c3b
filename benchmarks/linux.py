"""Linux as the host, beside the same kernel and ramfs on QEMU: boot, the price of system calls, the timer."""

import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pexpect

from benchmarks.measure import PATIENCE, Effort, Report, Series
from penglai import build
from penglai.guest.boot import Boot
from penglai.guest.image.current import Image, current_image
from penglai.sdk.hostbuild import build_host

PENGLAI = str(Path(sys.executable).with_name("penglai"))
QEMU = "qemu-system-riscv64"
HERE = Path(__file__).parent
PROMPT = "/ # "
BOOT = "boot to the prompt"
CALL = "system call (getppid)"


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
    """Commands that boot the same, by name: each as its users would.  image: the current one."""
    initrd = directory / f"initrd-{len(files)}.cpio"
    initrd.write_bytes(Boot(image=image, files=files).software().initrd)
    boots = {"here": [PENGLAI, "boot", *(f"--add={file}" for file in files)]}
    if shutil.which(QEMU):
        qemu = [QEMU, "-M", "virt", "-m", "256", "-nographic"]
        boots["QEMU"] = [*qemu, "-kernel", str(image.kernel), "-initrd", str(initrd)]
        boots["QEMU"] += ["-append", "console=hvc0 quiet"]
    return boots


def boot_times(boots: dict[str, list[str]], rounds: int) -> dict[str, float]:
    """µs from the command to the prompt, by machine: medians of boots that take turns."""
    series = {name: Series() for name in boots}
    for _ in range(rounds):
        for name, command in boots.items():
            started = time.perf_counter_ns()
            with booted(command):
                series[name].times.append(time.perf_counter_ns() - started)
    return {name: found.p50 for name, found in series.items()}


def figures_of(command: list[str], run: str) -> dict[str, float]:
    """Boot, run a program that writes lines of a name and a number, and return those."""
    with booted(command) as child:
        child.sendline(f"sh install.sh; {run}; echo end of fig''ures")  # as it is echoed it is not the end
        child.expect_exact("end of figures", timeout=None)
        text = child.before or ""
    lines = [line.strip().rpartition(": ") for line in text.splitlines() if ": " in line]
    return {name: float(value) for name, _, value in lines if value.isdigit()}


def measure(report: Report, effort: Effort) -> None:
    """Boot, the price of a system call, the timer; builds no image, which takes minutes."""
    image = current_image()
    if image is None:
        report.notes.append("Linux as the host: not measured, there is no image; make it with: make linux")
        return
    rounds, idle = effort.rounds(10, 1), effort.rounds(20, 1)
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        program = build_host(HERE / "guest.c", directory / "guest")
        quick = build(HERE / "quick.c", directory / "quick")
        boots = machines(image, directory, (f"guest={program}", f"quick={quick}"))
        figures = {BOOT: boot_times(machines(image, directory, ()), rounds)}
        for machine, command in boots.items():
            for what, value in figures_of(command, "./guest").items():
                figures.setdefault(what, {})[machine] = value / 1000
        ticks = figures_of(boots["here"], f"./guest {idle}")
    for what, values in figures.items():
        report.figure(f"Linux: {what}", values["here"], "µs", values.get("QEMU"), "QEMU")
    for what, value in ticks.items():
        report.figure(f"Linux: {what}", value, "ns" if "lateness" in what else "ticks")
    if "QEMU" in boots:
        for what, limit in ((CALL, 1.5), (BOOT, 1.2)):
            report.bar(f"Linux: {what}, to QEMU", figures[what]["here"] / figures[what]["QEMU"], limit, "x")
    else:
        report.notes.append(f"Linux as the host: nothing beside it, {QEMU} is not installed")
