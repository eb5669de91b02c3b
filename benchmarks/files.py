"""Files: those of the file server's, in sequence, beside tmpfs in Linux on the same machine."""

import tempfile
from pathlib import Path

import penglai
from benchmarks.linux import figures_of, machines
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import HERE, enclave
from penglai.guest.image.current import current_image
from penglai.sdk.hostbuild import build_host

SOURCE = "sequential.c"
KINDS = ("write", "read")
WHAT = "file server: {} 1 MiB in sequence"
PEER = "tmpfs in Linux"
SHARED = 128 << 10
"""Bytes through which the block server and the host pass sectors."""


def measure(report: Report, effort: Effort) -> None:
    """Write and read; the disk is a file of the host's, and each piece is stored when its call returns."""
    flags = f"-DROUNDS={effort.rounds(9, 2)}"
    here, there = of_server(flags), of_linux(flags)
    if not there:
        report.notes.append(f"{PEER}: not measured, there is no image; make it with: make linux")
    for kind in KINDS:
        report.times(WHAT.format(kind), here[kind], there.get(kind), PEER)


def of_server(flags: str) -> dict[str, Series]:
    """By an enclave with the shipped file server, on a machine in this process."""
    with tempfile.TemporaryDirectory() as name, penglai.Machine("64M", harts=1, state=None) as machine:
        shared = machine.shared_memory(SHARED)
        machine.use_disk(shared, file=Path(name, "disk"))
        machine.create("persistency", name="persistency", kind="server", shm=shared)
        machine.create("filesystem", name="filesystem", kind="server")
        result = machine.create(enclave(SOURCE, flags, "-lfiles")).run()
        assert result.value == 0, result
        lines = [line.rpartition(": ") for line in machine.console.text.splitlines()]
    return series({what: float(value) for what, _, value in lines})


def of_linux(flags: str) -> dict[str, Series]:
    """By a program of Linux's, with a file in its memory; nothing if there is no image."""
    image = current_image()
    if image is None:
        return {}
    with tempfile.TemporaryDirectory() as name:
        program = build_host(HERE / SOURCE, Path(name, "sequential"), [flags])
        command = machines(image, Path(name), (f"sequential={program}",))["here"]
        return series(figures_of(command, "mkdir -p /m; mount -t tmpfs none /m; ./sequential /m/file"))


def series(figures: dict[str, float]) -> dict[str, Series]:
    """The times of each kind.  figures: ns by kind and round."""
    return {
        kind: Series([int(value) for what, value in figures.items() if what.startswith(kind)])
        for kind in KINDS
    }
