"""Files: those of the file server's, in sequence, beside tmpfs in Linux on the same machine."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

import penglai
from benchmarks.linux import figures_of, machines
from benchmarks.measure import Effort, Report, Series
from benchmarks.programs import HERE, enclave
from penglai.guest.image.current import current_image
from penglai.sdk.hostbuild import build_host

SOURCE = "sequential.c"
WHAT = "file server: {} 1 MiB in sequence"
PEER = "tmpfs in Linux"
SHARED = 128 << 10
"""Bytes through which the block server and the host pass sectors."""


ROUNDS = 3
"""Of a program, before the other machine has its turn."""


def measure(report: Report, effort: Effort) -> None:
    """Write and read, in turns.  The server's disk is a file of the host's."""
    here, there = Times(), Times()
    flags = f"-DROUNDS={ROUNDS}"
    for _ in range(effort.rounds(5, 1)):
        here.add(of_server(flags))
        there.add(of_linux(flags))
    if not there.write.times:
        report.notes.append(f"{PEER}: not measured, there is no image; make it with: make linux")
    report.times(WHAT.format("write"), here.write, there.write if there.write.times else None, PEER)
    report.times(WHAT.format("read"), here.read, there.read if there.read.times else None, PEER)


@dataclass
class Times:
    """Of each round of a program."""

    write: Series = field(default_factory=Series)
    read: Series = field(default_factory=Series)

    def add(self, figures: dict[str, float]) -> None:
        """More of them.  figures: ns by kind and round, as the program prints them."""
        for what, value in figures.items():
            series = self.write if what.startswith("write") else self.read
            series.times.append(int(value))


def of_server(flags: str) -> dict[str, float]:
    """By an enclave with the shipped file server, on a machine in this process."""
    with tempfile.TemporaryDirectory() as name, penglai.Machine("64M", harts=1, state=None) as machine:
        shared = machine.shared_memory(SHARED)
        machine.use_disk(shared, file=Path(name, "disk"))
        machine.create("persistency", name="persistency", kind="server", shm=shared)
        machine.create("filesystem", name="filesystem", kind="server")
        result = machine.create(enclave(SOURCE, flags, "-lfiles")).run()
        assert result.value == 0, result
        lines = [line.rpartition(": ") for line in machine.console.text.splitlines()]
    return {what: float(value) for what, _, value in lines}


def of_linux(flags: str) -> dict[str, float]:
    """By a program of Linux's, with a file in its memory; nothing if there is no image."""
    image = current_image()
    if image is None:
        return {}
    with tempfile.TemporaryDirectory() as name:
        program = build_host(HERE / SOURCE, Path(name, "sequential"), [flags])
        command = machines(image, Path(name), (f"sequential={program}",))["here"]
        return figures_of(command, "mkdir -p /m; mount -t tmpfs none /m; ./sequential /m/file")
