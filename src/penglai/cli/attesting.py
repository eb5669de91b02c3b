"""penglai measure, attest, verify."""

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.errors import AttestationError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES, REPORT_BYTES
from penglai.attestation.report import MAX_NONCE, Report
from penglai.attestation.scheme import Scheme
from penglai.cli.options import Eapp, Harts, Json, Memory, command, err, fail, out, write_json
from penglai.embedded import Machine
from penglai.host.image import Kind
from penglai.machine.memory import parse_size
from penglai.offline import measure


def parse_nonce(text: str) -> int:
    """A nonce: decimal, or hexadecimal with 0x."""
    try:
        nonce = int(text, 0)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number; write it like 42 or 0x2a") from None
    if not 0 <= nonce <= MAX_NONCE:
        raise typer.BadParameter(f"{text} does not fit in 64 bits")
    return nonce


def hex_digits(size: int) -> Callable[[str], bytes]:
    """A parser of so many bytes in hexadecimal."""

    def parse(text: str) -> bytes:
        try:
            data = bytes.fromhex(text)
        except ValueError:
            raise typer.BadParameter(f"{text!r} is not hexadecimal") from None
        if len(data) != size:
            raise typer.BadParameter(f"it has {2 * size} hex digits, and this has {2 * len(data)}")
        return data

    return parse


StackSize = Annotated[str, typer.Option(help="Stack of the enclave.")]
SchemeOption = Annotated[
    Scheme, typer.Option(help="How to hash: sm3, or tvm-legacy for reports of existing firmware.")
]
ReportFile = Annotated[
    Path, typer.Argument(help="A report, 328 bytes.", metavar="REPORT", exists=True, dir_okay=False)
]
DeviceKey = Annotated[
    bytes | None,
    typer.Option(
        help="The device that is trusted; any is without it.",
        parser=hex_digits(PUBLIC_KEY_BYTES),
        metavar="HEX",
    ),
]
MonitorHash = Annotated[
    bytes | None,
    typer.Option(
        help="The monitor that is trusted; any is without it.", parser=hex_digits(HASH_BYTES), metavar="HEX"
    ),
]


@command
def measure_image(
    eapp: Eapp,
    scheme: SchemeOption = Scheme.SM3,
    kind: Annotated[Kind, typer.Option(help="What the enclave will be.")] = Kind.NORMAL,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    as_json: Json = False,
) -> None:
    """Measure an enclave program without running it: what a report of it must say."""
    size = parse_size(stack_size)
    measurement = measure(eapp, stack_size=size, kind=kind, scheme=scheme).hex()
    if as_json:
        write_json({"measurement": measurement, "scheme": scheme, "kind": kind, "stack_size": size})
    else:
        out.print(measurement)


@command
def attest(
    eapp: Eapp,
    nonce: Annotated[
        int | None,
        typer.Option(help="The verifier's number; a random one without it.", parser=parse_nonce, metavar="N"),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What the enclave will be.")] = Kind.NORMAL,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write the report there.")] = None,
    memory: Memory = "256M",
    harts: Harts = 2,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    as_json: Json = False,
) -> None:
    """Create an enclave and let the monitor report on it."""
    number = secrets.randbits(64) if nonce is None else nonce
    with Machine(memory, harts) as machine:
        enclave = machine.create(eapp, kind=kind, stack_size=parse_size(stack_size))
        measurement = enclave.measurement
        report = enclave.attest(number)
    if output is not None:
        try:
            output.write_bytes(bytes(report))
        except OSError as error:
            fail(f"cannot write {output}: {error.strerror}")
    if as_json:
        write_json({"measurement": measurement.hex(), **_as_dict(report), "report": bytes(report).hex()})
        return
    _show("measurement", measurement.hex())
    for name, value in _as_dict(report).items():
        _show(name.replace("_", " "), value)
    if output is not None:
        err.print(f"wrote {output}", style="dim")


@command
def verify(
    file: ReportFile,
    measurement: Annotated[
        bytes,
        typer.Option(help="What penglai measure says.", parser=hex_digits(HASH_BYTES), metavar="HEX"),
    ],
    nonce: Annotated[int, typer.Option(help="The number that was sent.", parser=parse_nonce, metavar="N")],
    device_key: DeviceKey = None,
    monitor_hash: MonitorHash = None,
    scheme: SchemeOption = Scheme.SM3,
    as_json: Json = False,
) -> None:
    """Check that a report proves what it should.

    The exit status is 0 if it does, 1 if it does not.
    """
    try:
        report = Report(_read(file))
        report.verify(
            measurement=measurement,
            nonce=nonce,
            device_key=device_key,
            monitor_hash=monitor_hash,
            scheme=scheme,
        )
    except AttestationError as error:
        if as_json:
            write_json({"valid": False, "reason": str(error)})
        else:
            out.print("[bold red]invalid[/]: ", end="")
            out.print(str(error), markup=False)
        raise typer.Exit(1) from None
    if as_json:
        write_json({"valid": True, "reason": None, **_as_dict(report)})
        return
    out.print(f"[bold green]valid[/]: enclave {measurement.hex()} answered nonce {nonce:#x}")
    if device_key is None:
        err.print("any device was accepted; name the one that you trust with --device-key", style="yellow")


def _read(file: Path) -> bytes:
    """The file, or as much of it as shows that it is no report."""
    try:
        with file.open("rb") as stream:
            return stream.read(REPORT_BYTES + 1)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def _as_dict(report: Report) -> dict[str, Any]:
    return {
        "report_hash": report.hash.hex(),
        "nonce": f"{report.nonce:#x}",
        "monitor_hash": report.monitor_hash.hex(),
        "device_key": report.device_key.hex(),
    }


def _show(name: str, value: str) -> None:
    out.print(f"[bold]{name:13}[/]{value}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("measure")(measure_image)
    app.command("attest")(attest)
    app.command("verify")(verify)
