"""Attestation reports, and what a verifier is told about them."""

import functools

from penglai.abi.errors import AttestationError, BadArgumentError
from penglai.attestation import legacy, sm2
from penglai.attestation.report import Report, enclave_statement, monitor_statement
from tests.fuzz.choices import Choices, says_why

TITLE = "attestation reports and their verifier"

DEVICE, MONITOR = (1234567).to_bytes(32, "big"), (7654321).to_bytes(32, "big")
MONITOR_HASH, MEASUREMENT, NONCE = bytes(range(32)), bytes(range(32, 64)), 0x0102_0304_0506_0708
LEGACY_MOST = 256


@functools.cache
def genuine() -> bytes:
    """A report of this enclave, this monitor and this device: the same all day."""
    monitor_key, device_key = sm2.public_key(MONITOR), sm2.public_key(DEVICE)
    part = monitor_statement(DEVICE, monitor_key, MONITOR_HASH)
    return part + enclave_statement(MONITOR, MEASUREMENT, NONCE) + device_key


def one(data: bytes) -> None:
    """Nothing verifies but what was signed; everything else is refused with a reason."""
    choices = Choices(data)
    kind = choices.below(4)
    if kind == 0:
        report = bytearray(genuine())
        for _ in range(1 + choices.below(3)):
            report[choices.below(len(report))] ^= choices.number(1)
        judge(bytes(report))
    elif kind == 1:
        # Parts of the genuine report in other places, and anything between.
        report = bytearray(genuine())
        at, start, size = (choices.below(328) for _ in range(3))
        report[at : at + size] = genuine()[start : start + size] if choices.below(2) else choices.take(size)
        judge(bytes(report))
    elif kind == 2:
        judge(choices.take(400))
    else:
        expectations(choices)


def judge(data: bytes) -> None:
    """Verify data as the genuine report."""
    verified = True
    try:
        report = Report.from_bytes(data)
        assert bytes(report) == data
        assert repr(report)
        report.verify(
            measurement=MEASUREMENT,
            nonce=NONCE,
            device_key=sm2.public_key(DEVICE),
            monitor_hash=MONITOR_HASH,
        )
    except AttestationError as error:
        says_why(error)
        verified = False
    assert verified == (data == genuine()), "what verifies is what was signed, to the bit"


def expectations(choices: Choices) -> None:
    """Verify the genuine report against what somebody may expect of it."""
    report = Report.from_bytes(genuine())
    measurement = choices.pick((MEASUREMENT, MEASUREMENT.hex(), choices.text(), choices.text().hex(), "zz"))
    nonce = choices.pick((NONCE, choices.word([NONCE]), -1, 1 << 64))
    device_key = choices.pick((None, sm2.public_key(DEVICE), choices.take(64), choices.text()))
    monitor_hash = choices.pick((None, MONITOR_HASH, choices.take(32)))
    scheme = choices.pick(("penglai-2", "penglai-2", "sm3", "tvm-legacy", "md5"))
    right = measurement in (MEASUREMENT, MEASUREMENT.hex()) and nonce == NONCE and scheme == "penglai-2"
    right = right and device_key in (None, sm2.public_key(DEVICE)) and monitor_hash in (None, MONITOR_HASH)
    verified = True
    try:
        report.verify(
            measurement=measurement,
            nonce=nonce,
            device_key=device_key,
            monitor_hash=monitor_hash,
            scheme=scheme,
        )
    except (AttestationError, BadArgumentError) as error:
        says_why(error)
        verified = False
    assert verified == right, "what verifies is what was expected"
    rest = choices.take(min(choices.left, LEGACY_MOST))
    assert len(legacy.digest(rest)) == 32
