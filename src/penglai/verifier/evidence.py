"""Evidence in its two forms: the report of 328 bytes, and the same as an EAT (docs/evidence.md).

The token is a function of the report, to the bit, and back: every claim is a field of the report or follows
from one.  So it proves exactly what the report proves, nothing in it can be changed, and reports of any
monitor can be written so, also of existing firmware.
"""

import io
from typing import Any, NoReturn

import cbor2
from cryptography.hazmat.primitives import hashes

from penglai.abi import eat
from penglai.abi.errors import AttestationError
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES, REPORT_BYTES, SIGNATURE_BYTES
from penglai.attestation.report import Report

EVIDENCE_MOST = max(REPORT_BYTES, eat.MOST_BYTES)
"""Bytes of the longest evidence."""

TAGGED = 6
"""The first three bits of what is tagged CBOR, as tokens are."""

DEEPEST = 4
NONCE_BYTES = 8
SIZES = {
    eat.CLAIM_NONCE: NONCE_BYTES,
    eat.CLAIM_DEVICE_KEY: PUBLIC_KEY_BYTES,
    eat.CLAIM_MONITOR_HASH: HASH_BYTES,
    eat.CLAIM_REPORT_HASH: HASH_BYTES,
}
"""Bytes of each claim that is a field of the report."""


def as_eat(report: Report) -> bytes:
    """The report as an EAT: a CWT in COSE_Sign1, deterministically encoded."""
    claims: dict[int, object] = {
        eat.CLAIM_NONCE: report.nonce.to_bytes(NONCE_BYTES, "little"),
        eat.CLAIM_UEID: bytes([eat.UEID_RANDOM]) + _sm3(report.device_key),
        eat.CLAIM_PROFILE: eat.PROFILE,
        eat.CLAIM_DEVICE_KEY: report.device_key,
        eat.CLAIM_MONITOR_HASH: report.monitor_hash,
        eat.CLAIM_REPORT_HASH: report.hash,
    }
    if report.debuggable:
        claims[eat.CLAIM_DEBUG] = eat.DEBUG_ENABLED
    signatures = report.monitor_signature + report.monitor_key + report.signature
    header = _encode({eat.HEADER_ALGORITHM: eat.ALGORITHM})
    signed = cbor2.CBORTag(eat.SIGN1_TAG, [header, {}, _encode(claims), signatures])
    return _encode(cbor2.CBORTag(eat.CWT_TAG, signed))


def read_evidence(data: bytes) -> Report:
    """The report in evidence of either form; whatever it says is a claim until it is verified.

    Raises AttestationError for what is neither.
    """
    if len(data) == REPORT_BYTES or not data or data[0] >> 5 != TAGGED:
        return Report(data)
    if len(data) > eat.MOST_BYTES:
        raise AttestationError(f"a token has at most {eat.MOST_BYTES} bytes, and this has more")
    report = _report(*_parts(data))
    if as_eat(report) != data:
        raise AttestationError("the token does not say what its report says, or says it in another encoding")
    return report


def _parts(data: bytes) -> tuple[dict[Any, Any], bytes]:
    """Claims and signatures of a token."""
    match _decode(data):
        case cbor2.CBORTag(tag=eat.CWT_TAG, value=cbor2.CBORTag(tag=eat.SIGN1_TAG, value=parts)):
            pass
        case _:
            raise AttestationError("the token is no CWT in COSE_Sign1 (tags 61 and 18)")
    match parts:
        case [bytes(header), _, bytes(payload), bytes(signatures)]:
            pass
        case _:
            raise AttestationError("the token is no COSE_Sign1: header, header, payload and signature")
    algorithm = _map("header", header).get(eat.HEADER_ALGORITHM)
    if algorithm != eat.ALGORITHM:
        raise AttestationError(
            f"the token is signed by the algorithm {algorithm!r}; reports are by {eat.ALGORITHM}"
        )
    return _map("payload", payload), signatures


def _report(claims: dict[Any, Any], signatures: bytes) -> Report:
    """The report of which these are the claims."""
    if claims.get(eat.CLAIM_PROFILE) != eat.PROFILE:
        raise AttestationError(f"the token's profile is {claims.get(eat.CLAIM_PROFILE)!r}, not {eat.PROFILE}")
    for claim, size in SIZES.items():
        if not isinstance(claims.get(claim), bytes) or len(claims[claim]) != size:
            raise AttestationError(f"the token's claim {claim} is not one of {size} bytes")
    if len(signatures) != eat.SIGNATURES_BYTES:
        raise AttestationError(
            f"the token's signature has {len(signatures)} bytes, not {eat.SIGNATURES_BYTES}"
        )
    of_device, of_monitor = signatures[:-SIGNATURE_BYTES], signatures[-SIGNATURE_BYTES:]
    return Report(
        claims[eat.CLAIM_MONITOR_HASH]
        + of_device
        + claims[eat.CLAIM_REPORT_HASH]
        + of_monitor
        + claims[eat.CLAIM_NONCE]
        + claims[eat.CLAIM_DEVICE_KEY]
    )


def _map(what: str, data: bytes) -> dict[Any, Any]:
    found = _decode(data)
    if not isinstance(found, dict):
        raise AttestationError(f"the token's {what} is no map")
    return found


def _decode(data: bytes) -> Any:
    decoder = cbor2.CBORDecoder(
        io.BytesIO(data),
        max_depth=DEEPEST,
        allow_indefinite=False,
        allow_duplicate_keys=False,
        semantic_decoders=dict.fromkeys(PARSED_TAGS, _refuse),
    )
    try:
        return decoder.decode()
    except cbor2.CBORDecodeError as error:
        raise AttestationError(f"the token is no CBOR: {error}") from error


PARSED_TAGS = (35, 36)
"""Regular expressions and mail: decoding one is work, and no claim is one."""


def _refuse(_value: Any, _immutable: bool) -> NoReturn:
    raise ValueError("regular expressions and mail are no claims")


def _encode(value: object) -> bytes:
    return cbor2.dumps(value, canonical=True)


def _sm3(data: bytes) -> bytes:
    digest = hashes.Hash(hashes.SM3())
    digest.update(data)
    return digest.finalize()
