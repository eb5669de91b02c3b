"""Policies as files: TOML, in which whatever is unknown or of another type is an error that says where."""

import re
import tomllib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penglai.abi.errors import PolicyError
from penglai.abi.report import HASH_BYTES, PUBLIC_KEY_BYTES
from penglai.abi.sbi import EnclaveType
from penglai.attestation.scheme import Scheme

ANY = "any"
"""Instead of a list of keys or hashes: whatever it is."""

MOST_BYTES = 1 << 20
"""Of a policy's file: some thousands of enclaves."""

MOST_NAME = 100
"""Characters of an enclave's name."""

KINDS = tuple(kind.name.lower() for kind in (EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW))


@dataclass(frozen=True)
class KnownEnclave:
    """An enclave that a policy expects.

    measurement: 32 bytes.  name: for whoever reads the verdict.  kind: what it was measured as (normal,
    server, shadow), which only measurements of the scheme penglai-2 cover.  scheme: how it was measured.

    Raises PolicyError for what can be no enclave.
    """

    measurement: bytes
    name: str = ""
    kind: str | None = None
    scheme: str = Scheme.PENGLAI_2

    def __post_init__(self) -> None:
        _check_length("measurement", self.measurement, HASH_BYTES)
        if self.scheme not in list(Scheme):
            raise PolicyError(f"scheme: there is no {self.scheme!r}; there are {', '.join(Scheme)}")
        if self.kind is not None and self.kind not in KINDS:
            raise PolicyError(f"kind: there is no {self.kind!r}; there are {', '.join(KINDS)}")
        if self.kind is not None and self.scheme != Scheme.PENGLAI_2:
            raise PolicyError(f"kind: the scheme {self.scheme} does not measure it; leave it out")
        if len(self.name) > MOST_NAME or not self.name.isprintable():
            raise PolicyError(f"name: it has at most {MOST_NAME} characters, all of them printable")

    def fields(self) -> dict[str, str]:
        """Key and value of each line that a policy's file has of it."""
        named = {"name": self.name} if self.name else {}
        kind = {"kind": self.kind} if self.kind is not None else {}
        return {**named, "measurement": self.measurement.hex(), **kind, "scheme": str(self.scheme)}


def read(path: Path) -> str:
    """The text of a policy's file.  Raises PolicyError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise PolicyError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from error
    if len(data) > MOST_BYTES:
        raise PolicyError(f"{path}: a policy has at most {MOST_BYTES} bytes")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise PolicyError(f"{path}: it is no text in UTF-8 (byte {error.start})") from error


def parse(text: str, where: str) -> dict[str, Any]:
    """The arguments of a policy.  where: what messages call the text.  Raises PolicyError."""
    try:
        document = tomllib.loads(text)
    except RecursionError:
        raise PolicyError(f"{where}: it is nested too deeply") from None
    except ValueError as error:  # a number of too many digits is no TOMLDecodeError
        raise PolicyError(f"{where}: it is no TOML: {error}") from error
    fields = _Fields(document, f"{where}: ")
    found = {
        "allow_debug": fields.take("allow_debug", bool, default=False),
        "device_keys": fields.many("device_keys", PUBLIC_KEY_BYTES),
        "monitor_hashes": fields.many("monitor_hashes", HASH_BYTES),
        "enclaves": tuple(_enclave(each) for each in fields.tables("enclave")),
    }
    fields.end()
    return found


def check(
    enclaves: Collection[KnownEnclave],
    device_keys: Collection[bytes] | None,
    monitor_hashes: Collection[bytes] | None,
) -> None:
    """Raise PolicyError for what nothing could satisfy, or can be no key or hash."""
    if not enclaves:
        raise PolicyError("it names no enclave: give each one's measurement under [[enclave]]")
    for key, values, size in (
        ("device_keys", device_keys, PUBLIC_KEY_BYTES),
        ("monitor_hashes", monitor_hashes, HASH_BYTES),
    ):
        if values is not None and not values:
            raise PolicyError(f'{key}: none would be trusted; name them, or say {key} = "{ANY}"')
        for value in values or ():
            _check_length(key, value, size)


def _check_length(key: str, value: bytes, size: int) -> None:
    if len(value) != size:
        raise PolicyError(f"{key}: each has {2 * size} hex digits ({size} bytes), and this {2 * len(value)}")


def _enclave(fields: "_Fields") -> KnownEnclave:
    measurement = _hex(fields.take("measurement", str), fields.path("measurement"))
    rest = {key: fields.take(key, str, default=None) for key in ("name", "kind", "scheme")}
    fields.end()
    try:
        return KnownEnclave(measurement, **{key: value for key, value in rest.items() if value is not None})
    except PolicyError as error:
        raise PolicyError(f"{fields.path('')}{error}") from None


def _hex(text: str, path: str) -> bytes:
    if not re.fullmatch("(?:[0-9a-fA-F]{2})*", text):
        raise PolicyError(f"{path}: {text!r} is not hexadecimal")
    return bytes.fromhex(text)


REQUIRED: Any = object()
TYPES = {bool: "true or false", str: "a string"}


class _Fields:
    """The keys of a table, each taken once.  path: what messages put before a key."""

    def __init__(self, table: dict[str, Any], path: str) -> None:
        self._left = dict(table)
        self._path = path
        self._known: list[str] = []

    def path(self, key: str) -> str:
        return self._path + key

    def take(self, key: str, kind: type, *, default: Any = REQUIRED) -> Any:
        """The value of a key.  Raises PolicyError for another type, or if it is required and missing."""
        self._known.append(key)
        value = self._left.pop(key, default)
        if value is REQUIRED:
            raise PolicyError(f"{self.path(key)} is missing")
        if value is not default and not isinstance(value, kind):
            raise PolicyError(f"{self.path(key)}: it is {TYPES[kind]}, not {value!r}")
        return value

    def many(self, key: str, size: int) -> tuple[bytes, ...] | None:
        """Strings of hex digits, or None where anything goes."""
        self._known.append(key)
        if key not in self._left:
            raise PolicyError(f'{self.path(key)} is missing: a list of hex digits, or "{ANY}"')
        values = self._left.pop(key)
        if values == ANY:
            return None
        if not isinstance(values, list):
            raise PolicyError(f'{self.path(key)}: it is a list of hex digits, or "{ANY}", not {values!r}')
        found = []
        for number, value in enumerate(values):
            path = f"{self.path(key)}[{number}]"
            if not isinstance(value, str):
                raise PolicyError(f"{path}: it is a string of hex digits, not {value!r}")
            found.append(_hex(value, path))
            if len(found[-1]) != size:
                raise PolicyError(f"{path}: it has {2 * size} hex digits, and this has {len(value)}")
        return tuple(found)

    def tables(self, key: str) -> list["_Fields"]:
        """The tables of a key, which are written [[key]]."""
        self._known.append(key)
        values = self._left.pop(key, [])
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise PolicyError(f"{self.path(key)}: write each one under a line [[{key}]]")
        return [_Fields(value, f"{self._path}{key}[{number}].") for number, value in enumerate(values)]

    def end(self) -> None:
        """Raise PolicyError if there are other keys."""
        for key in self._left:
            raise PolicyError(f"{self.path(key)}: there is no such key; there are {', '.join(self._known)}")
