"""penglai run: one enclave, its output as it comes, its end."""

import contextlib
import itertools
import sys
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.errors import PenglaiError, WaitTimeoutError
from penglai.abi.layout import DEFAULT_STACK_SIZE, NAME_BYTES
from penglai.abi.profile import ProfileName
from penglai.cli.halting import Gdb, WithGdb, halted
from penglai.cli.interacting import own_stdin
from penglai.cli.measuring import CoverageAppend, CoverageFile, Measured, ProfileTime, TraceTo, measuring
from penglai.cli.numbers import count
from penglai.cli.options import (
    Eapp,
    EndAfter,
    Harts,
    Json,
    Memory,
    Profile,
    Servers,
    StackSize,
    Stats,
    command,
    err,
    fail,
    write_json,
)
from penglai.cli.packing import (
    BLOCK_SERVER,
    FILE_SERVER,
    Arguments,
    Environment,
    Files,
    LinuxProgram,
    Mounted,
    Packed,
    Peers,
    Protected,
    Published,
    Root,
    split_mounts,
    split_publish,
)
from penglai.cli.recording import recorded
from penglai.cli.supplying import Supplies, supply
from penglai.driver.fault import Fault
from penglai.driver.shared import SharedMemory
from penglai.driver.task import Info, Reason, Result
from penglai.embedded import Machine
from penglai.host.enclave import Enclave, Run
from penglai.host.mounts import Mounts
from penglai.host.network import Network
from penglai.machine.memory import parse_size

MAX_NAME = NAME_BYTES - 1


class Stdout:
    """Writes an enclave's output to standard output as it comes; destroys it when that cannot be done."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine

    def __call__(self, eid: int, text: bytes) -> None:
        """Write the text of an enclave.  How the command ends says why it was not written."""
        try:
            sys.stdout.buffer.write(text)
            sys.stdout.buffer.flush()
        except OSError:
            with contextlib.suppress(PenglaiError):  # it has ended meanwhile
                self._machine.enclave(eid).destroy()


@command
def run(
    eapp: Eapp,
    arguments: Arguments = None,
    linux: LinuxProgram = False,
    root: Root = None,
    files: Files = None,
    environment: Environment = None,
    mount: Mounted = None,
    protected: Protected = None,
    publish: Published = None,
    connect: Peers = None,
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    server: Servers = None,
    instances: Annotated[
        int | None,
        typer.Option(
            help="Make it a shadow, and run this many instances at once.", parser=count(1), metavar="N"
        ),
    ] = None,
    timeout: EndAfter = None,
    shm: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Shared memory for it and its servers, such as 64K.")
    ] = None,
    relay: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Relay pages with what is in the file.  Named again: those for when it has returned them.",
        ),
    ] = None,
    disk: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Keep sectors in this file.  Servers see them in their shared memory (without --shm: 128K).",
        ),
    ] = None,
    profile: Profile = ProfileName.NATIVE,
    gdb: Gdb = None,
    record: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Record it for `penglai replay`.  The machine has one hart then."),
    ] = None,
    coverage: CoverageFile = None,
    coverage_append: CoverageAppend = False,
    profile_time: ProfileTime = None,
    trace: TraceTo = None,
    exit_value: Annotated[
        bool, typer.Option("--exit-value", help="End with the enclave's value (its low 8 bits) as status.")
    ] = False,
    stats: Stats = False,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="With the backtrace of a fault, show the registers too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run an enclave to its end, with its output on standard output.

    What it did if it faulted is on standard error, with a backtrace: lines too if it was built with -g.
    A Linux program has this command's standard input too, and gets its Ctrl-C as SIGINT.

    The exit status is 0 if it ended by itself, 1 if it faulted or the time was over; that of a Linux
    program is the program's own.
    """
    directories = split_mounts(mount)
    image = Packed(arguments, root, files, environment, list(directories), protected or ()).image_or(
        eapp, linux=linux
    )
    mounts = Mounts(directories) if directories else None
    network = _network(split_publish(publish), connect or ())
    servers = [split_server(text) for text in server or []]
    if protected and FILE_SERVER not in dict(servers):
        servers += [(FILE_SERVER, FILE_SERVER), (BLOCK_SERVER, BLOCK_SERVER)]
    if gdb is not None and instances is not None:
        raise typer.BadParameter("--gdb looks at one enclave, and --instances makes several")
    if network is not None and instances is not None:
        raise typer.BadParameter("--publish and --connect are for one enclave, and --instances makes several")
    measured = Measured(coverage, coverage_append, profile_time, trace)
    measured.check()
    with (
        Machine(
            memory,
            harts if record is None else 1,
            profile=profile,
            debug=gdb is not None or record is not None,
            coverage=measured.counts,
            sampling=measured.samples,
        ) as machine,
        recorded(machine, record),
        measuring(machine, measured),
    ):
        written: dict[int, bytes] = {}
        machine.on_output = Stdout(machine)
        if as_json:
            machine.on_output = lambda eid, text: written.update({eid: written.get(eid, b"") + text})
        supplies = supply(machine, shm, relay or [], disk)
        made = make_servers(machine, servers, stack_size, supplies.servers)
        kind = "normal" if instances is None else "shadow"
        name = Path(eapp).name[:MAX_NAME] if linux else ""
        size = parse_size(stack_size)
        enclave = machine.create(image, name=name, kind=kind, stack_size=size, shm=supplies.client)
        typed = own_stdin() if instances is None else contextlib.nullcontext()
        with halted(machine, enclave, gdb), typed as stdin:
            runs = [
                enclave.start(relay=supplies.pages(0), stdin=stdin, mounts=mounts, network=network)
                for _ in range(instances or 1)
            ]
            outcomes = [wait_for_end(run, eapp, timeout, supplies) for run in runs]
        if as_json:
            rows = [
                _as_dict(run.eid, *outcome, written.get(run.eid, b""))
                for run, outcome in zip(runs, outcomes, strict=True)
            ]
            write_json(rows if instances else rows[0])
        if stats:
            show_stats(machine, [*(run.enclave for run in runs), *made])
        for run, (result, _) in zip(runs, outcomes, strict=True):
            explain_faults(machine, run, result, registers=verbose)
    for run, (result, _) in zip(runs, outcomes, strict=True):
        _tell(run.eid, eapp, result, quiet=as_json or linux)
    if exit_value or linux:
        raise typer.Exit((outcomes[-1][0].value or 0) & 0xFF)


def _network(publish: dict[int, str], connect: Sequence[str]) -> Network | None:
    if not publish and not connect:
        return None
    network = Network(publish, connect)
    for inside in publish:
        err.print(f"port {inside} is port {network.port(inside)} here", style="dim", markup=False)
    return network


def split_server(text: str) -> tuple[str, str]:
    """NAME=EAPP in two."""
    name, separator, image = text.partition("=")
    if not separator or not name or not image:
        raise typer.BadParameter(f"--server {text}: write it like --server NAME=EAPP")
    return name, image


def make_servers(
    machine: Machine, servers: list[tuple[str, str]], stack_size: str, shm: SharedMemory | None = None
) -> list[Enclave]:
    """A server of each name and image."""
    size = parse_size(stack_size)
    return [
        machine.create(image, name=name, kind="server", stack_size=size, shm=shm) for name, image in servers
    ]


def wait_for_end(run: Run, eapp: str, timeout: float | None, supplies: Supplies) -> tuple[Result, Info]:
    """The end of a run, or of the enclave's time."""
    try:
        result = run.result(timeout)
        for number in itertools.count(1):
            if result.reason is not Reason.RELAY:
                break
            result = run.enclave.continue_with(supplies.pages(number)).result(timeout)
    except WaitTimeoutError:
        run.enclave.destroy()
        fail(f"{eapp} was destroyed: it was still alive after {timeout} seconds")
    return result, run.enclave.info()


def explain_faults(machine: Machine, run: Run, result: Result, *, registers: bool) -> None:
    """On standard error: what led to the fault that ended a run, and to those of servers that it called."""
    faults = machine.server_faults(run.enclave)
    if result.fault is not None and result.fault not in faults:
        faults.append(result.fault)
    for fault in faults:
        if fault.details is not None:
            err.print(f"{fault.details.enclave}: {fault}", style="bold")
            err.print(fault.explain(registers=registers))


def _tell(eid: int, eapp: str, result: Result, *, quiet: bool) -> None:
    if result.reason is Reason.DESTROYED:
        raise typer.Exit(1)
    if result.reason is Reason.FAULTED:
        fail(f"{eapp} was destroyed: {result.fault}")
    if not quiet:
        err.print(f"enclave {eid} exited with value {result.value}", style="dim")


def _as_dict(eid: int, result: Result, info: Info, output: bytes) -> dict[str, Any]:
    return {
        "eid": eid,
        "reason": result.reason.name,
        "value": result.value,
        "fault": _fault_as_dict(result.fault) if result.fault else None,
        "measurement": info.measurement.hex(),
        "pages": info.pages,
        "run_time_ns": info.run_time,
        "preemptions": info.preemptions,
        "stops": info.stops,
        "calls": info.calls,
        "server_calls": info.server_calls,
        "ocalls": info.ocalls,
        "output": output.decode("utf-8", "replace"),
    }


def _fault_as_dict(fault: Fault) -> dict[str, Any]:
    return {
        "cause": fault.cause,
        "address": fault.address,
        "where": fault.details.where if fault.details else "",
        "backtrace": [asdict(frame) for frame in fault.backtrace],
    }


def show_stats(machine: Machine, enclaves: Iterable[Enclave]) -> None:
    """On standard error: what enclaves have used (servers use their callers' time), and the engine."""
    from rich.table import Table  # noqa: PLC0415 - late, for a quick start

    table = Table("enclave", box=None, pad_edge=False)
    for column in ("run time", "pages", "preempted", "stops", "calls", "to servers", "ocalls"):
        table.add_column(column, justify="right")
    for enclave in enclaves:
        info = enclave.info()
        counts = (info.pages, info.preemptions, info.stops, info.calls, info.server_calls, info.ocalls)
        time = "" if enclave.kind == "server" else f"{info.run_time / 1e6:.1f} ms"
        table.add_row(f"{enclave.eid} {enclave.name}", time, *map(str, counts))
    err.print(table)
    if counted := machine.engine_counts:
        err.print(", ".join(f"{name} {count}" for name, count in counted.items()))


def register(app: typer.Typer) -> None:
    """Add the command of this module."""
    app.command("run", cls=WithGdb)(run)
