"""Policies: which enclaves, on which devices and under which monitors, somebody believes."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from penglai.abi.errors import AttestationError, PolicyError
from penglai.attestation.report import Report, nonce_bytes
from penglai.attestation.scheme import Scheme
from penglai.verifier import policyfile
from penglai.verifier.evidence import read_evidence
from penglai.verifier.policyfile import KnownEnclave


@dataclass(frozen=True)
class Verdict:
    """What evidence has proved.  enclave: that of the policy which it is.  report: the evidence."""

    enclave: KnownEnclave
    report: Report


@dataclass(frozen=True)
class Policy:
    """What is believed, and of whom.

    enclaves: those that are expected, at least one.  device_keys: of the devices that are trusted, 64 bytes
    each; None: any device, also one that somebody made up.  monitor_hashes: of the monitors that are trusted,
    32 bytes each; None: any that the device signed.  allow_debug: machines that can be debugged too, on
    which nothing is secret.

    Raises PolicyError for what can be no policy.
    """

    enclaves: Sequence[KnownEnclave]
    device_keys: Sequence[bytes] | None
    monitor_hashes: Sequence[bytes] | None
    allow_debug: bool = False

    def __post_init__(self) -> None:
        for name in ("enclaves", "device_keys", "monitor_hashes"):
            if (values := getattr(self, name)) is not None:
                object.__setattr__(self, name, tuple(values))
        policyfile.check(self.enclaves, self.device_keys, self.monitor_hashes)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Self:
        """The policy in a file (docs/guides/verify.md).

        Raises PolicyError if it cannot be read, or for what is wrong in it; the message says where.
        """
        return cls.parse(policyfile.read(Path(path)), str(path))

    @classmethod
    def parse(cls, text: str, where: str = "the policy") -> Self:
        """The policy in a text of TOML.  where: what messages call it.  Raises PolicyError."""
        document = policyfile.parse(text, where)
        try:
            return cls(**document)
        except PolicyError as error:
            raise PolicyError(f"{where}: {error}") from None

    def verify(self, evidence: bytes | Report, *, nonce: int) -> Verdict:
        """What the evidence proves, if it is of an enclave of this policy, and answers the nonce.

        evidence: a report of 328 bytes, or an EAT.  nonce: the one that was sent, 64 bits.

        Raises AttestationError, whose message names the first thing that is wrong; BadArgumentError for a
        nonce outside 64 bits.
        """
        expected = nonce_bytes(nonce)
        report = evidence if isinstance(evidence, Report) else read_evidence(evidence)
        report.authenticate(
            device_keys=self.device_keys, monitor_hashes=self.monitor_hashes, allow_debug=self.allow_debug
        )
        report.check_nonce(nonce)
        for enclave in self.enclaves:
            if Scheme.named(enclave.scheme).report_hash(enclave.measurement, expected) == report.hash:
                return Verdict(enclave, report)
        if len(self.enclaves) == 1:  # it knows more to say about one
            (only,) = self.enclaves
            report.verify(measurement=only.measurement, nonce=nonce, scheme=only.scheme, allow_debug=True)
        raise AttestationError(
            f"wrong measurement: the report is of none of the policy's enclaves ({_names(self.enclaves)}); "
            "it is another program, or of another kind, stack size or scheme"
        )

    def __str__(self) -> str:
        """The policy as TOML, which `parse` reads."""
        lines = [
            f"allow_debug = {str(self.allow_debug).lower()}",
            _listed("device_keys", self.device_keys),
            _listed("monitor_hashes", self.monitor_hashes),
        ]
        for enclave in self.enclaves:
            lines += ["", "[[enclave]]"]
            lines += [f"{key} = {_quoted(value)}" for key, value in enclave.fields().items()]
        return "\n".join(lines) + "\n"


NAMED_AT_MOST = 5


def _names(enclaves: Sequence[KnownEnclave]) -> str:
    names = [enclave.name or enclave.measurement.hex()[:16] + "…" for enclave in enclaves]
    shown = ", ".join(names[:NAMED_AT_MOST])
    return f"{shown}, and {len(names) - NAMED_AT_MOST} more" if len(names) > NAMED_AT_MOST else shown


def _listed(key: str, values: Sequence[bytes] | None) -> str:
    if values is None:
        return f'{key} = "{policyfile.ANY}"'
    return "\n".join([f"{key} = [", *(f'    "{value.hex()}",' for value in values), "]"])


def _quoted(text: str) -> str:
    """A string of TOML: for what is printable, JSON has the same escapes."""
    return json.dumps(text, ensure_ascii=False)
