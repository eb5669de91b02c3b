"""Reports: what verifies, and what is said about everything that does not."""

import pytest

from penglai.abi.errors import AttestationError, BadArgumentError
from penglai.abi.report import REPORT_BYTES
from penglai.attestation import first, sm2, sm2_pure
from penglai.attestation.report import Report, enclave_statement, monitor_statement, report_hash

DEVICE, MONITOR, OTHER = sm2.generate(), sm2.generate(), sm2.generate()
DEVICE_KEY = sm2.public_key(DEVICE)
MONITOR_HASH, MEASUREMENT = bytes(range(32)), bytes(range(32, 64))
NONCE = 0x0102_0304_0506_0708


def make(device: bytes = DEVICE, monitor: bytes = MONITOR, nonce: int = NONCE) -> Report:
    part = monitor_statement(device, sm2.public_key(monitor), MONITOR_HASH)
    return Report.from_bytes(part + enclave_statement(monitor, MEASUREMENT, nonce) + sm2.public_key(device))


GOOD = make()


def test_a_report_says_what_it_is_made_of():
    assert bytes(GOOD) == GOOD.data
    assert len(bytes(GOOD)) == REPORT_BYTES == 328
    assert GOOD.monitor_hash == MONITOR_HASH == bytes(GOOD)[:32]
    assert GOOD.monitor_signature == bytes(GOOD)[32:96]
    assert GOOD.monitor_key == sm2.public_key(MONITOR) == bytes(GOOD)[96:160]
    assert GOOD.hash == report_hash(MEASUREMENT, NONCE) == bytes(GOOD)[160:192]
    assert GOOD.signature == bytes(GOOD)[192:256]
    assert GOOD.nonce == NONCE == int.from_bytes(bytes(GOOD)[256:264], "little")
    assert GOOD.device_key == DEVICE_KEY == bytes(GOOD)[264:]
    assert GOOD.hash.hex() in repr(GOOD)
    assert Report.from_bytes(bytes(GOOD)) == GOOD


def test_a_good_report_verifies():
    assert GOOD.verify(measurement=MEASUREMENT, nonce=NONCE) is GOOD
    GOOD.verify(measurement=MEASUREMENT.hex(), nonce=NONCE)
    GOOD.verify(measurement=MEASUREMENT, nonce=NONCE, device_key=DEVICE_KEY, monitor_hash=MONITOR_HASH)


@pytest.mark.parametrize("nonce", [0, 1, (1 << 64) - 1])
def test_any_64_bits_are_a_nonce(nonce: int):
    make(nonce=nonce).verify(measurement=MEASUREMENT, nonce=nonce)


@pytest.mark.slow
@pytest.mark.parametrize("device_key", [None, DEVICE_KEY], ids=["any device", "this device"])
def test_no_bit_of_a_report_can_change(device_key: bytes | None):
    step = 61 if sm2.library is sm2_pure else 1  # a prime: the slow library tries bits of every field
    for bit in range(0, REPORT_BYTES * 8, step):
        data = bytearray(bytes(GOOD))
        data[bit // 8] ^= 1 << bit % 8
        report = Report.from_bytes(bytes(data))
        with pytest.raises(AttestationError):
            report.verify(measurement=MEASUREMENT, nonce=NONCE, device_key=device_key)


@pytest.mark.parametrize(
    ("report", "arguments", "message"),
    [
        (make(device=OTHER), {"device_key": DEVICE_KEY}, "wrong device: the report is of the one with"),
        (
            Report(monitor_statement(OTHER, sm2.public_key(MONITOR), MONITOR_HASH) + bytes(GOOD)[160:]),
            {},
            "not signed by the device",
        ),
        (GOOD, {"monitor_hash": bytes(32)}, f"wrong monitor: its hash is {MONITOR_HASH.hex()}"),
        (
            Report(bytes(GOOD)[:160] + enclave_statement(OTHER, MEASUREMENT, NONCE) + DEVICE_KEY),
            {},
            "not signed by the monitor",
        ),
        (GOOD, {"nonce": 5}, "wrong nonce: the report has 0x102030405060708, not 0x5"),
        (GOOD, {"measurement": bytes(32)}, "wrong measurement: the report is not of 0000"),
        (GOOD, {"scheme": "tvm-legacy"}, "wrong measurement: .* another scheme"),
        # the first thing that is wrong is named
        (make(device=OTHER), {"device_key": DEVICE_KEY, "nonce": 5}, "wrong device"),
        (GOOD, {"nonce": 5, "measurement": bytes(32)}, "wrong nonce"),
    ],
)
def test_the_message_names_what_is_wrong(report: Report, arguments: dict, message: str):
    with pytest.raises(AttestationError, match=message):
        report.verify(**{"measurement": MEASUREMENT, "nonce": NONCE, **arguments})


def test_a_report_of_the_originals_firmware():
    """Same layout, same signatures; the hash is the original's."""
    digest = report_hash(MEASUREMENT, NONCE, "tvm-legacy")
    signed = digest + sm2.sign(MONITOR, digest + NONCE.to_bytes(8, "little")) + NONCE.to_bytes(8, "little")
    report = Report(bytes(GOOD)[:160] + signed + DEVICE_KEY)
    report.verify(measurement=MEASUREMENT, nonce=NONCE, scheme="tvm-legacy")
    with pytest.raises(AttestationError, match="wrong measurement"):
        report.verify(measurement=MEASUREMENT, nonce=NONCE)


def first_release(monitor_hash: bytes) -> Report:
    """A report as the first release's monitor made it."""
    part = monitor_hash + sm2.sign(DEVICE, monitor_hash + sm2.public_key(MONITOR)) + sm2.public_key(MONITOR)
    digest = report_hash(MEASUREMENT, NONCE, "sm3")
    signed = digest + sm2.sign(MONITOR, digest + NONCE.to_bytes(8, "little")) + NONCE.to_bytes(8, "little")
    return Report(part + signed + DEVICE_KEY)


def test_a_report_of_the_first_release_is_refused_with_the_reason():
    old = first_release(MONITOR_HASH)
    old.verify(measurement=MEASUREMENT, nonce=NONCE, scheme="sm3")
    with pytest.raises(AttestationError, match=r"old scheme: .* two different enclaves can have"):
        old.verify(measurement=MEASUREMENT, nonce=NONCE)
    with pytest.raises(AttestationError, match="old scheme: the first release's monitor made"):
        first_release(first.MONITOR).verify(measurement=bytes(32), nonce=NONCE)
    with pytest.raises(AttestationError, match="wrong measurement"):
        GOOD.verify(measurement=MEASUREMENT, nonce=NONCE, scheme="sm3")


@pytest.mark.parametrize("data", [b"", bytes(GOOD)[:-1], bytes(GOOD) + b"\0"], ids=len)
def test_a_report_has_328_bytes(data: bytes):
    with pytest.raises(AttestationError, match=f"328 bytes, and this has {len(data)}"):
        Report.from_bytes(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"measurement": "xyz"}, "'xyz' is no measurement"),
        ({"measurement": "00"}, "32 bytes .* not 1"),
        ({"nonce": -1}, "does not fit"),
        ({"nonce": 1 << 64}, "does not fit"),
        ({"device_key": b"short"}, "device key has 64 bytes"),
        ({"monitor_hash": b"short"}, "monitor hash has 32 bytes"),
        ({"scheme": "md5"}, "no scheme 'md5'; there are penglai-2, sm3, tvm-legacy"),
    ],
    ids=str,
)
def test_an_argument_that_cannot_be_is_said_so(arguments: dict, message: str):
    with pytest.raises(BadArgumentError, match=message):
        GOOD.verify(**{"measurement": MEASUREMENT, "nonce": NONCE, **arguments})


def test_one_of_several_devices_and_monitors():
    others = sm2.public_key(OTHER), bytes(32)
    GOOD.authenticate(device_keys=[others[0], DEVICE_KEY], monitor_hashes=[others[1], MONITOR_HASH])
    GOOD.authenticate()
    with pytest.raises(AttestationError, match="wrong device"):
        GOOD.authenticate(device_keys=[others[0]], monitor_hashes=[MONITOR_HASH])
    with pytest.raises(AttestationError, match="wrong monitor"):
        GOOD.authenticate(device_keys=[DEVICE_KEY], monitor_hashes=[others[1]])
    with pytest.raises(AttestationError, match="wrong device"):
        GOOD.authenticate(device_keys=[])
    with pytest.raises(BadArgumentError, match="monitor hash has 32 bytes"):
        GOOD.authenticate(monitor_hashes=[MONITOR_HASH, b"short"])


def test_a_nonce_is_the_one_or_another():
    GOOD.check_nonce(NONCE)
    with pytest.raises(AttestationError, match="wrong nonce"):
        GOOD.check_nonce(NONCE + 1)
