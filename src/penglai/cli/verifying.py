"""penglai policy and verify: what somebody believes, and whether a report is of it."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from penglai.abi.errors import AttestationError, PenglaiError
from penglai.abi.layout import DEFAULT_STACK_SIZE
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES
from penglai.attestation.scheme import Scheme
from penglai.cli.attesting import SchemeOption, as_dict, hex_digits, parse_nonce
from penglai.cli.options import Json, StackSize, command, err, fail, out, write_json
from penglai.embedded import Machine
from penglai.host.image import Kind
from penglai.machine.memory import parse_size
from penglai.monitor.keys import monitor_hash as hash_of_own_monitor
from penglai.offline import measure
from penglai.verifier.evidence import EVIDENCE_MOST, read_evidence
from penglai.verifier.policy import Policy
from penglai.verifier.policyfile import MOST_NAME, KnownEnclave

STANDARD_INPUT = Path("-")
SMALLEST = "4M"
"""Of a machine that runs nothing."""

Evidence = Annotated[
    Path,
    typer.Argument(
        help="A report, or an EAT of one; - for standard input.",
        metavar="REPORT",
        exists=True,
        dir_okay=False,
        allow_dash=True,
    ),
]
Measurement = Annotated[
    bytes | None,
    typer.Option(help="What penglai measure says.", parser=hex_digits(HASH_BYTES), metavar="HEX"),
]
PolicyFile = Annotated[
    Path | None,
    typer.Option(
        "--policy", help="What is believed; the options below say it without a file.", metavar="FILE"
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
AllowDebug = Annotated[
    bool,
    typer.Option("--allow-debug", help="Accept a machine that can be debugged, which keeps no secret."),
]


@command
def verify(
    file: Evidence,
    nonce: Annotated[int, typer.Option(help="The number that was sent.", parser=parse_nonce, metavar="N")],
    policy: PolicyFile = None,
    measurement: Measurement = None,
    device_key: DeviceKey = None,
    monitor_hash: MonitorHash = None,
    scheme: SchemeOption = Scheme.PENGLAI_2,
    allow_debug: AllowDebug = False,
    as_json: Json = False,
) -> None:
    """Check that a report proves what it should.

    The exit status is 0 if it does, 1 if it does not.
    """
    if policy is not None:
        if measurement or device_key or monitor_hash or allow_debug or scheme is not Scheme.PENGLAI_2:
            raise typer.BadParameter("the policy says what is believed: give no other option beside --policy")
        believed = Policy.load(policy)
    elif measurement is None:
        raise typer.BadParameter("say what is believed: give --measurement, or --policy")
    else:
        believed = Policy(
            [KnownEnclave(measurement, scheme=scheme)],
            None if device_key is None else [device_key],
            None if monitor_hash is None else [monitor_hash],
            allow_debug,
        )
    try:
        verdict = believed.verify(_read(file), nonce=nonce)
    except AttestationError as error:
        if as_json:
            write_json({"valid": False, "reason": str(error)})
        else:
            out.print("invalid", style="bold red", end=": ")
            out.print(str(error))
        raise typer.Exit(1) from None
    report, enclave = verdict.report, verdict.enclave
    if as_json:
        write_json({"valid": True, "reason": None, "enclave": enclave.fields(), **as_dict(report)})
        return
    out.print("valid", style="bold green", end=": ")
    name = f" ({enclave.name})" if enclave.name else ""
    out.print(f"enclave {enclave.measurement.hex()}{name} answered nonce {nonce:#x}")
    if report.debuggable:
        err.print("the machine can be debugged: nothing in the enclave is secret", style="yellow")
    if believed.device_keys is None:
        err.print(
            f"any device was accepted; name the one that you trust with {_where(policy)}", style="yellow"
        )


def _where(policy: Path | None) -> str:
    return "--device-key" if policy is None else f"device_keys in {policy}"


@command
def write_policy(
    eapps: Annotated[
        list[str],
        typer.Argument(help="What is expected: enclave ELFs, or names of shipped demos.", metavar="EAPP..."),
    ],
    devices: Annotated[
        list[Path] | None,
        typer.Option(
            "--device",
            help="A report of a trusted device and its monitor; of this machine without it.  Repeatable.",
            metavar="REPORT",
            exists=True,
            dir_okay=False,
        ),
    ] = None,
    kind: Annotated[Kind, typer.Option(help="What the enclaves will be.")] = Kind.NORMAL,
    scheme: SchemeOption = Scheme.PENGLAI_2,
    stack_size: StackSize = str(DEFAULT_STACK_SIZE),
    allow_debug: AllowDebug = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write it there; without it, on standard output.")
    ] = None,
) -> None:
    """Write a policy: these enclaves, on these devices, as a file for penglai verify and penglai verifier."""
    size = parse_size(stack_size)
    known = [
        KnownEnclave(
            measure(eapp, stack_size=size, kind=kind, scheme=scheme),
            _name(eapp),
            str(kind) if scheme is Scheme.PENGLAI_2 else None,
            scheme,
        )
        for eapp in eapps
    ]
    keys, hashes = _trusted(devices) if devices else _this_machine()
    text = str(Policy(known, keys, hashes, allow_debug))
    if output is None:
        out.out(text, end="", highlight=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        fail(f"cannot write {output}: {error.strerror}")


def _name(eapp: str) -> str:
    """What a policy calls an enclave: the name of its file, as far as it can be printed."""
    return "".join(each for each in Path(eapp).name if each.isprintable())[:MOST_NAME]


def _this_machine() -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Device key and monitor hash of the machine that penglai run switches on here."""
    with Machine(SMALLEST, 1) as machine:
        return [machine.device_key], [hash_of_own_monitor()]


def _trusted(files: Sequence[Path]) -> tuple[Sequence[bytes], Sequence[bytes]]:
    """Device keys and monitor hashes of reports, each once."""
    reports = []
    for file in files:
        try:
            report = read_evidence(_read(file))
            if report.debuggable:  # it has not all of the monitor's hash
                fail(f"{file} is of a machine that can be debugged; let it report without that")
            report.authenticate()
        except PenglaiError as error:
            fail(f"{file}: {error}")
        reports.append(report)
    return _each_once([each.device_key for each in reports]), _each_once(
        [each.monitor_hash for each in reports]
    )


def _each_once(values: Sequence[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _read(file: Path) -> bytes:
    """The file, or as much of it as shows that it is no evidence."""
    try:
        if file == STANDARD_INPUT:
            return sys.stdin.buffer.read(EVIDENCE_MOST + 1)
        with file.open("rb") as stream:
            return stream.read(EVIDENCE_MOST + 1)
    except OSError as error:
        fail(f"cannot read {file}: {error.strerror}")


def register(app: typer.Typer) -> None:
    """Add the commands of this module."""
    app.command("policy")(write_policy)
    app.command("verify")(verify)
