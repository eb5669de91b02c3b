"""Signed verdicts: EAT Attestation Results (draft-ietf-rats-ear-04), JWTs by ES256 (docs/evidence.md)."""

import base64
import functools
import hashlib
import json
import re
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from jwt.algorithms import ECAlgorithm

from penglai.abi.errors import AttestationError, BadArgumentError
from penglai.attestation.report import nonce_bytes
from penglai.verifier.policy import Policy, Verdict

PROFILE = "tag:ietf.org,2026:rats/ear#04"
DEVELOPER = "https://github.com/pypenglai/pypenglai"
ALGORITHM = "ES256"
TYPE = "eat+jwt"

AFFIRMING, WARNING, CONTRAINDICATED = "affirming", "warning", "contraindicated"
GOOD, DOUBTFUL, NO_CLAIM = 2, 32, 0
"""Values of a trustworthiness vector: affirming, warning, and nothing said."""

NONCE = re.compile("0[xX][0-9a-fA-F]{1,16}|0|[1-9][0-9]{0,19}")


def read_nonce(text: str) -> int:
    """A nonce as text: decimal, or hexadecimal with 0x.  Raises BadArgumentError for anything else."""
    if not NONCE.fullmatch(text):
        raise BadArgumentError(f"{text[:40]!r} is no nonce; write it like 42 or 0x2a, of at most 64 bits")
    nonce = int(text, 0)
    nonce_bytes(nonce)
    return nonce


def appraise(policy: Policy, evidence: bytes, nonce: int, *, build: str, now: int) -> dict[str, Any]:
    """The claims of an attestation result; a refusal is one, too, with its reason.

    build: of this software.  now: seconds since 1970.  Raises BadArgumentError for a nonce outside 64 bits.
    """
    try:
        appraisal = _proved(policy, policy.verify(evidence, nonce=nonce))
    except AttestationError as error:
        appraisal = {"ear_status": CONTRAINDICATED, "penglai_reason": str(error)}
    return {
        "eat_profile": PROFILE,
        "iat": now,
        "ear_verifier_id": {"developer": DEVELOPER, "build": build},
        "eat_nonce": f"{nonce:#018x}",
        "ear_raw_evidence": _base64(evidence),
        "submods": {"enclave": {**appraisal, "ear_appraisal_policy_ids": [policy_id(policy)]}},
    }


def policy_id(policy: Policy) -> str:
    """What names a policy: SHA-256 over it, as `str` writes it."""
    return f"sha256:{hashlib.sha256(str(policy).encode()).hexdigest()}"


def _proved(policy: Policy, verdict: Verdict) -> dict[str, Any]:
    debuggable = verdict.report.debuggable
    return {
        "ear_status": WARNING if debuggable or policy.device_keys is None else AFFIRMING,
        "ear_trustworthiness_vector": {
            "instance-identity": NO_CLAIM if policy.device_keys is None else GOOD,
            "configuration": DOUBTFUL if debuggable else GOOD,
            "executables": GOOD,
        },
        "penglai_enclave": verdict.enclave.fields(),
        "penglai_device_key": verdict.report.device_key.hex(),
        "penglai_monitor_hash": verdict.report.monitor_hash.hex(),
    }


class Signer:
    """Signs verdicts.

    private: a key of P-256 as `new_key` makes it.  Raises BadArgumentError for anything else.
    """

    def __init__(self, private: bytes) -> None:
        try:
            key = serialization.load_der_private_key(private, password=None)
        except ValueError as error:
            raise BadArgumentError(f"the verifier's key is no private key: {error}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise BadArgumentError("the verifier's key is not one of P-256, as ES256 wants it")
        self._key = key

    @functools.cached_property
    def jwk(self) -> dict[str, str]:
        """The public key as a JSON Web Key; its kid is its thumbprint (RFC 7638)."""
        key = ECAlgorithm.to_jwk(self._key.public_key(), as_dict=True)
        point = {name: str(key[name]) for name in ("crv", "kty", "x", "y")}
        digest = hashlib.sha256(json.dumps(point, separators=(",", ":"), sort_keys=True).encode()).digest()
        return {**point, "kid": _base64(digest), "alg": ALGORITHM, "use": "sig"}

    def sign(self, claims: dict[str, Any]) -> str:
        """The claims as a signed JWT."""
        headers = {"typ": TYPE, "kid": self.jwk["kid"]}
        return jwt.encode(claims, self._key, algorithm=ALGORITHM, headers=headers)


def new_key() -> bytes:
    """A new private key for a `Signer`: P-256, PKCS #8, DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(
        serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _base64(data: bytes) -> str:
    """base64url, as JOSE has it: without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
