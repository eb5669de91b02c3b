"""Writes cases.toml: `python -m tests.verifier.make`.

The file is kept, as what others may have sent: what is good today has to stay so.  Signatures are other ones
each time.
"""

import struct
from collections.abc import Iterator
from pathlib import Path

import cbor2

from penglai.abi import eat
from penglai.attestation import sm2
from penglai.attestation.report import Report, debug_hash, enclave_statement, monitor_statement, report_hash
from penglai.verifier.evidence import as_eat
from penglai.verifier.policy import Policy
from penglai.verifier.policyfile import KnownEnclave

CASES = Path(__file__).with_name("cases.toml")

DEVICE, MONITOR, OTHER = (number.to_bytes(32, "big") for number in (1234567, 7654321, 1111111))
HASH, FIRST, SECOND, THIRD = (bytes(range(start, start + 32)) for start in (0, 32, 64, 96))
NONCE = 0x0102_0304_0506_0708

POLICY = Policy(
    [
        KnownEnclave(FIRST, "first", "normal"),
        KnownEnclave(SECOND, "second", scheme="tvm-legacy"),
        KnownEnclave(THIRD, "third", scheme="sm3"),
    ],
    [sm2.public_key(DEVICE)],
    [HASH],
)


def report(
    measurement: bytes = FIRST,
    nonce: int = NONCE,
    device: bytes = DEVICE,
    monitor: bytes = MONITOR,
    monitor_hash: bytes = HASH,
    scheme: str = "penglai-2",
) -> bytes:
    """A report that is signed as it should be."""
    digest = report_hash(measurement, nonce, scheme)
    fresh = struct.pack("<Q", nonce)
    enclave = digest + sm2.sign(monitor, digest + fresh) + fresh
    return monitor_statement(device, sm2.public_key(monitor), monitor_hash) + enclave + sm2.public_key(device)


def token(header: object, claims: object, signature: bytes, *, unprotected: object = None) -> bytes:
    parts = [cbor2.dumps(header), unprotected or {}, cbor2.dumps(claims), signature]
    return cbor2.dumps(cbor2.CBORTag(eat.CWT_TAG, cbor2.CBORTag(eat.SIGN1_TAG, parts)))


def bad_reports(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    other = report(device=OTHER)
    yield "of another device", other, "wrong device: the report is of the one with the key"
    yield "the statement of another device", other[:160] + good[160:], "not signed by the device"
    yield "another monitor", report(monitor_hash=THIRD), "wrong monitor: its hash is 6061"
    yield "a debugged machine", report(monitor_hash=debug_hash(HASH)), "the machine can be debugged"
    enclave = enclave_statement(OTHER, FIRST, NONCE)
    yield "the enclave of another monitor", good[:160] + enclave + good[264:], "not signed by the monitor"
    yield "an old one", report(nonce=5), "wrong nonce: the report has 0x5, not 0x102030405060708"
    yield "another program", report(HASH), "none of the policy's enclaves (first, second, third)"
    yield "another scheme", report(scheme="sm3"), "none of the policy's enclaves"
    yield "the scheme of another", report(SECOND), "none of the policy's enclaves"
    yield "cut off", good[:-1], "a report has 328 bytes, and this has 327"
    yield "too long", good + b"\0", "a report has 328 bytes, and this has 329"
    yield "nothing", b"", "a report has 328 bytes, and this has 0"
    yield "a JWT", b"eyJhbGciOiJub25lIn0.e30.", "a report has 328 bytes"


def bad_tokens(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    whole = as_eat(Report(good))
    header, _, payload, signature = cbor2.loads(whole).value.value
    head, claims = dict(cbor2.loads(header)), dict(cbor2.loads(payload))
    yield "cut off", whole[:-1], "no CBOR"
    yield "with something behind it", whole + b"\0", "in another encoding"
    yield "a tag and no more", b"\xd8\x3d", "no CBOR"
    yield "no COSE_Sign1", cbor2.dumps(cbor2.CBORTag(61, [])), "no CWT in COSE_Sign1"
    yield "unsigned claims", cbor2.dumps(cbor2.CBORTag(601, claims)), "no CWT in COSE_Sign1"
    yield "three parts", cbor2.dumps(cbor2.CBORTag(61, cbor2.CBORTag(18, [b"", {}, b""]))), "no COSE_Sign1"
    yield "signed by ES256", token({1: -7}, claims, signature), "by the algorithm -7; reports are by -70000"
    yield "signed by nothing", token({}, claims, signature), "by the algorithm None"
    yield "a header that is none", token([1], claims, signature), "header is no map"
    yield "claims that are none", token(head, 1, signature), "payload is no map"
    yield (
        "another profile",
        token(head, claims | {265: "tag:psacertified.org"}, signature),
        "profile is 'tag:psa",
    )
    yield "no nonce", token(head, claims | {10: b""}, signature), "claim 10 is not one of 8 bytes"
    yield "a nonce of text", token(head, claims | {10: "12345678"}, signature), "claim 10 is not one of 8"
    yield "a short signature", token(head, claims, signature[:64]), "signature has 64 bytes, not 192"
    yield "another nonce", as_eat(Report(good[:256] + bytes(8) + good[264:])), "not signed by the monitor"
    yield "one claim more", token(head, claims | {6: 1}, signature), "in another encoding"
    yield "another ueid", token(head, claims | {256: bytes(33)}, signature), "in another encoding"
    yield "debugging denied", token(head, claims | {263: 4}, signature), "in another encoding"
    yield (
        "an unprotected header",
        token(head, claims, signature, unprotected={4: b"x"}),
        "in another encoding",
    )
    backwards = dict(reversed(claims.items()))
    yield "claims in another order", token(head, backwards, signature), "in another encoding"
    yield "of indefinite length", whole.replace(b"\x84G", b"\x9fG") + b"\xff", "no CBOR"
    twice = b"\xa7" + payload[1:] + cbor2.dumps(10) + cbor2.dumps(bytes(8))
    yield "a claim twice", whole.replace(cbor2.dumps(payload), cbor2.dumps(twice)), "no CBOR"
    yield "nested deeply", b"\xd8\x3d" * 20 + b"\0", "no CBOR"
    yield "a regular expression", b"\xd8\x3d\xd2\xd8\x23\x63\x28\x61\x29", "no CBOR"
    yield "too long", whole + bytes(eat.MOST_BYTES), "at most 1024 bytes"
    debugged = as_eat(Report(report(monitor_hash=debug_hash(HASH))))
    yield "a debugged machine", debugged, "the machine can be debugged"
    yield "of another device", as_eat(Report(report(device=OTHER))), "wrong device"


def good_ones(good: bytes) -> Iterator[tuple[str, bytes, str]]:
    yield "of this release", good, "first"
    yield "of existing firmware", report(SECOND, scheme="tvm-legacy"), "second"
    yield "of the first release", report(THIRD, scheme="sm3"), "third"
    yield "as EAT", as_eat(Report(good)), "first"
    yield "of existing firmware, as EAT", as_eat(Report(report(SECOND, scheme="tvm-legacy"))), "second"


def main() -> None:
    good = report()
    lines = ["# Evidence, good and bad: made by tests/verifier/make.py, and kept.", "", f"nonce = {NONCE:#x}"]
    lines.append(f'policy = """\n{POLICY}"""')
    for kind, says, cases in (
        ("good", "enclave", good_ones(good)),
        ("bad_report", "reason", bad_reports(good)),
        ("bad_token", "reason", bad_tokens(good)),
    ):
        for name, evidence, what in cases:
            lines += ["", f"[[{kind}]]", f"name = '{name}'", f'{says} = "{what}"']
            lines.append(f"evidence = '{evidence.hex()}'")
    CASES.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
