"""penglai measure and attest."""

import re
import secrets
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.layout import DEFAULT_STACK_SIZE
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
from penglai.verifier.evidence import as_eat


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


SchemeOption = Annotated[
    Scheme,
    typer.Option(
        help="How to hash: sm3 for reports of the first release, tvm-legacy for those of existing firmware."
    ),
]


class Format(StrEnum):
    """What a report is written as."""

    REPORT = "report"
    EAT = "eat"


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
    written_as: Annotated[
        Format, typer.Option("--format", help="As 328 bytes, or as an EAT: CBOR, for other verifiers.")
    ] = Format.REPORT,
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
    evidence = as_eat(report) if written_as is Format.EAT else bytes(report)
    if output is not None:
        try:
            output.write_bytes(evidence)
        except OSError as error:
            fail(f"cannot write {output}: {error.strerror}")
    if as_json:
        write_json({"measurement": measurement.hex(), **as_dict(report), str(written_as): evidence.hex()})
        return
    show(f"{'measurement':13}", measurement.hex())
    for name, value in as_dict(report).items():
        show(f"{name.replace('_', ' '):13}", value)
    if output is not None:
        err.print(f"wrote {output}", style="dim")


def as_dict(report: Report) -> dict[str, Any]:
    """What a report says, for JSON."""
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
