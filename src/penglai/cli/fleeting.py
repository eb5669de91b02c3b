"""penglai fleet: machines on several nodes, and enclaves placed on them."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES
from penglai.cli.attesting import hex_digits
from penglai.cli.numbers import count, seconds
from penglai.cli.options import (
    Eapp,
    Harts,
    Json,
    Memory,
    Servers,
    StackSize,
    command,
    end_on_signals,
    err,
    out,
    write_json,
)
from penglai.cli.running import split_server
from penglai.machine.memory import parse_size

if TYPE_CHECKING:
    from penglai.fleet.fleet import Fleet
    from penglai.fleet.rows import EnclaveRow, MachineRow

app = typer.Typer(
    help="Machines on several nodes of this computer, and enclaves placed on them; needs pypenglai[fleet].",
    no_args_is_help=True,
)

Number = Annotated[
    int, typer.Argument(help="The enclave's number in the fleet.", parser=count(1), metavar="N")
]
State = Annotated[
    Path | None, typer.Option(help="Directory of the device that the machine is; the user's own without it.")
]
DeviceKeys = Annotated[
    list[Any] | None,
    typer.Option(
        "--device-key",
        help="A device on which it may run; any is without it.  Repeatable.",
        parser=hex_digits(PUBLIC_KEY_BYTES),
        metavar="HEX",
    ),
]


@app.command("up")
@command
def up(
    nodes: Annotated[
        int, typer.Option(help="How many nodes, with a machine on each.", parser=count(1), metavar="N")
    ] = 2,
    memory: Memory = "256M",
    harts: Harts = 2,
    state: State = None,
    save_every: Annotated[
        float | None,
        typer.Option(
            help="Save what allows it so often; it goes on from there if its machine dies.",
            parser=seconds,
            metavar="SECONDS",
        ),
    ] = None,
    store: Annotated[
        Path | None, typer.Option(help="Directory of snapshots; without it one that goes with the fleet.")
    ] = None,
) -> None:
    """Start a fleet on this computer.  It stays until penglai fleet down.

    It listens on the loopback alone, and lets in who can read its token: this user.
    """
    from penglai.fleet.fleet import Saving, start_recorded  # noqa: PLC0415 - Ray takes a while to import

    end_on_signals()
    saving = Saving.checked(save_every, store)
    with start_recorded(nodes, memory, harts, state, saving) as fleet:
        _show_machines(fleet.machines())


@app.command("join")
@command
def join(memory: Memory = "256M", harts: Harts = 2, state: State = None) -> None:
    """Add a node to the fleet, with a machine of this size."""
    end_on_signals()
    with _fleet() as fleet:
        fleet.join(memory, harts, state=state)
        _show_machines(fleet.machines())


@app.command("ps")
@command
def ps(as_json: Json = False) -> None:
    """Show the machines and the enclaves, also those that have ended."""
    with _fleet() as fleet:
        machines, enclaves = fleet.machines(), fleet.enclaves()
    if as_json:
        rows = [{**asdict(row), "device_key": row.device_key.hex()} for row in machines]
        write_json({"machines": rows, "enclaves": [asdict(row) for row in enclaves]})
        return
    _show_machines(machines)
    if enclaves:
        out.print()
        _show_enclaves(enclaves)


@app.command("place")
@command
def place(
    eapp: Eapp,
    copies: Annotated[int, typer.Option("--count", help="How many.", parser=count(1), metavar="N")] = 1,
    server: Servers = None,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    device_key: DeviceKeys = None,
    machine: Annotated[
        str, typer.Option(help="The machine that it has to be; the one with the most free pages without it.")
    ] = "",
    wait: Annotated[bool, typer.Option("--wait", help="Wait for their ends.")] = False,
    timeout: Annotated[
        float | None,
        typer.Option(help="Wait so long at most; they go on.", parser=seconds, metavar="SECONDS"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Place an enclave, check its machine's report of it, and let it run.

    Its servers are made on its machine.  It runs there only if the report proves that it is what it should
    be, on a device that is allowed.
    """
    servers = dict(split_server(text) for text in server or [])
    with _fleet() as fleet:
        placed = [
            fleet.place(
                eapp,
                servers=servers,
                stack_size=parse_size(stack_size),
                devices=device_key or (),
                machine=machine,
            )
            for _ in range(copies)
        ]
        rows = [each.wait(timeout) if wait else each.row for each in placed]
    if as_json:
        write_json([asdict(row) for row in rows])
    else:
        _show_enclaves(rows)
    if any(row.status.over and row.status != "EXITED" for row in rows):
        raise typer.Exit(1)


@app.command("logs")
@command
def logs(number: Number) -> None:
    """Write what an enclave has written, as far as its machine has kept it."""
    with _fleet() as fleet:
        text = fleet.enclave(number).output
    out.out(text.decode("utf-8", "replace"), end="", highlight=False)


@app.command("move")
@command
def move(
    number: Number,
    machine: Annotated[
        str, typer.Option(help="Where to; to the one with the most free pages without it.")
    ] = "",
) -> None:
    """Move an enclave to another machine, where it goes on at the very next instruction."""
    with _fleet() as fleet:
        out.print(fleet.enclave(number).move(machine))


@app.command("save")
@command
def save(number: Number) -> None:
    """Save a snapshot of an enclave that allows clones; it goes on from there if its machine dies."""
    with _fleet() as fleet:
        fleet.enclave(number).save()


@app.command("drain")
@command
def drain(machine: Annotated[str, typer.Argument(help="Its name.", metavar="MACHINE")]) -> None:
    """Move the enclaves of a machine elsewhere, switch it off, and end its node.

    If some could not be moved, they stay, nothing more is placed there, and the exit status is 1.
    """
    with _fleet() as fleet:
        failures = fleet.drain(machine)
    for number, why in failures.items():
        err.print(f"enclave {number} stays: {why}")
    if failures:
        raise typer.Exit(1)


@app.command("demo")
@command
def demo(
    nodes: Annotated[int, typer.Option(help="How many nodes.", parser=count(1), metavar="N")] = 4,
    enclaves: Annotated[
        int, typer.Option(help="How many enclaves count.", parser=count(1), metavar="N")
    ] = 200,
) -> None:
    """Let enclaves count on several nodes, kill one node and drain another one meanwhile.

    The exit status is 0 if every count ended right.
    """
    from penglai.cli.fleetdemo import Demo  # noqa: PLC0415 - Ray takes a while to import

    end_on_signals()
    if not Demo(nodes, enclaves).play():
        raise typer.Exit(1)


@app.command("destroy")
@command
def destroy(number: Number) -> None:
    """End an enclave."""
    with _fleet() as fleet:
        fleet.enclave(number).destroy()


@app.command("verify")
@command
def verify(
    number: Number,
    measurement: Annotated[
        bytes,
        typer.Option(help="What penglai measure says.", parser=hex_digits(HASH_BYTES), metavar="HEX"),
    ],
    device_key: DeviceKeys = None,
) -> None:
    """Have the monitor of an enclave's machine report on it, with a new nonce, and check what that proves."""
    with _fleet() as fleet:
        report = fleet.enclave(number).verify(measurement=measurement, devices=device_key or ())
    out.print("valid", style="bold green", end=": ")
    out.print(f"enclave {number} is {measurement.hex()} on device {report.device_key.hex()}")


@app.command("down")
@command
def down() -> None:
    """End the fleet: its enclaves, machines and nodes."""
    from penglai.fleet.fleet import end_recorded  # noqa: PLC0415 - Ray takes a while to import

    nodes = end_recorded()
    err.print(f"ended {nodes} nodes", style="dim")


def _fleet() -> "Fleet":
    """The user's."""
    from penglai.fleet.fleet import Fleet  # noqa: PLC0415 - Ray takes a while to import

    return Fleet.connect()


def _show_machines(rows: "list[MachineRow]") -> None:
    from rich.table import Table  # noqa: PLC0415 - late, for a quick start

    table = Table("machine", "device", box=None, pad_edge=False)
    for column in ("free pages", "of", "harts", "enclaves"):
        table.add_column(column, justify="right")
    for row in rows:
        counts = (row.free, row.pages, row.harts, row.enclaves)
        table.add_row(row.name, row.device_key.hex()[:16], *map(str, counts))
    out.print(table)


def _show_enclaves(rows: "list[EnclaveRow]") -> None:
    from rich.table import Table  # noqa: PLC0415 - late, for a quick start

    table = Table(box=None, pad_edge=False)
    table.add_column("N", justify="right")
    table.add_column("enclave")
    table.add_column("machine")
    table.add_column("status")
    table.add_column("pages", justify="right")
    table.add_column("run time", justify="right")
    table.add_column("moves", justify="right")
    table.add_column("saved", justify="right")
    table.add_column("end")
    for row in rows:
        end = row.reason or ("" if row.value is None else f"value {row.value}")
        time = f"{row.run_time / 1e6:.1f} ms"
        counts = (str(row.moves), str(row.snapshots))
        table.add_row(str(row.number), row.name, row.machine, row.status, str(row.pages), time, *counts, end)
    out.print(table)


def register(main: typer.Typer) -> None:
    """Add the commands of this module."""
    main.add_typer(app, name="fleet")
