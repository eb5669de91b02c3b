"""penglai measure, attest, verify."""

import re
import secrets
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.errors import AttestationError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES, REPORT_BYTES
from penglai.attestation.report import MAX_NONCE, Report
from penglai.attestation.scheme import Scheme
from penglai.cli.numbers import hex_bytes, whole
from penglai.cli.options import (
    Eapp,
    Harts,
    Json,
    Memory,
    StackSize,
    command,
    err,
    fail,
    out,
    show,
    write_json,
)
from penglai.cli.packing import (
    Arguments,
    Environment,
    Files,
    LinuxProgram,
    MountPoints,
    Packed,
    Protected,
    Root,
)
from penglai.embedded import Machine
from penglai.host.image import Kind
from penglai.machine.memory import parse_size
from penglai.offline import measure


def parse_nonce(text: str) -> int:
    """A nonce: decimal, or hexadecimal with 0x."""
    nonce = whole(text)
    if not 0 <= nonce <= MAX_NONCE:
        raise typer.BadParameter(f"{text} does not fit in 64 bits")
    return nonce


def hex_digits(size: int) -> Callable[[str], bytes]:
    """A parser of this many bytes in hexadecimal."""

    def parse(text: str) -> bytes:
        data = hex_bytes(text)
        if len(data) != size:
            raise typer.BadParameter(f"it has {2 * size} hex digits, and this has {2 * len(data)}")
        return data

    return parse


def c_name(text: str) -> str:
    """A name that C takes."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        raise typer.BadParameter(f"{text!r} is no name in C")
    return text


def as_c_array(name: str, data: bytes) -> str:
    """The definition of an array of bytes."""
    rows = [data[start : start + 8] for start in range(0, len(data), 8)]
    lines = ["    " + " ".join(f"{byte:#04x}," for byte in row) for row in rows]
    return "\n".join([f"static const unsigned char {name}[{len(data)}] = {{", *lines, "};"])


STANDARD_INPUT = Path("-")

SchemeOption = Annotated[
    Scheme,
    typer.Option(
        help="How to hash: sm3 for reports of the first release, tvm-legacy for those of existing firmware."
    ),
]
ReportFile = Annotated[
    Path,
    typer.Argument(
        help="A report, 328 bytes; - for standard input.",
        metavar="REPORT",
        exists=True,
        dir_okay=False,
        allow_dash=True,
    ),
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
    arguments: Arguments = None,
    linux: LinuxProgram = False,
    root: Root = None,
    files: Files = None,
    environment: Environment = None,
    mount_points: MountPoints = None,
    protected: Protected = None,
    scheme: SchemeOption = Scheme.PENGLAI_2,
    kind: Annotated[Kind, typer.Option(help="What the enclave will be.")] = Kind.NORMAL,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    header: Annotated[
        str | None,
        typer.Option(help="Print it as a C array of this name instead.", parser=c_name, metavar="NAME"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure an enclave program without running it: what a report of it must say."""
    size = parse_size(stack_size)
    image = Packed(arguments, root, files, environment, mount_points or (), protected or ()).image_or(
        eapp, linux=linux
    )
    measurement = measure(image, stack_size=size, kind=kind, scheme=scheme)
    if as_json:
        write_json({"measurement": measurement.hex(), "scheme": scheme, "kind": kind, "stack_size": size})
    elif header is not None:
        out.out(as_c_array(header, measurement), highlight=False)
    else:
        out.print(measurement.hex())


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
    show(f"{'measurement':13}", measurement.hex())
    for name, value in _as_dict(report).items():
        show(f"{name.replace('_', ' '):13}", value)
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
    scheme: SchemeOption = Scheme.PENGLAI_2,
    allow_debug: Annotated[
        bool,
        typer.Option("--allow-debug", help="Accept a machine that can be debugged, which keeps no secret."),
    ] = False,
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
            allow_debug=allow_debug,
        )
    except AttestationError as error:
        if as_json:
            write_json({"valid": False, "reason": str(error)})
        else:
            out.print("invalid", style="bold red", end=": ")
            out.print(str(error))
        raise typer.Exit(1) from None
    if as_json:
        write_json({"valid": True, "reason": None, **_as_dict(report)})
        return
    out.print("valid", style="bold green", end=": ")
    out.print(f"enclave {measurement.hex()} answered nonce {nonce:#x}")
    if report.debuggable:
        err.print("the machine can be debugged: nothing in the enclave is secret", style="yellow")
    if device_key is None:
        err.print("any device was accepted; name the one that you trust with --device-key", style="yellow")


def _read(file: Path) -> bytes:
    """The file, or as much of it as shows that it is no report."""
    try:
        if file == STANDARD_INPUT:
            return sys.stdin.buffer.read(REPORT_BYTES + 1)
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


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("measure")(measure_image)
    app.command("attest")(attest)
    app.command("verify")(verify)
