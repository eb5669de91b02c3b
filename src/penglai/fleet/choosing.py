"""On which machine an enclave is placed."""

from collections.abc import Iterable
from typing import Protocol

from penglai.abi.errors import BadArgumentError, FleetError


class Candidate(Protocol):
    """What is looked at of a machine."""

    name: str
    device_key: bytes
    draining: bool

    @property
    def free(self) -> int:
        """Pages that no enclave has."""


def choose(
    machines: Iterable[Candidate], devices: frozenset[bytes], where: str = "", away: str = ""
) -> list[str]:
    """Names of the machines to be tried, the one with the most free pages first.

    devices: the public keys of the devices that may have it; empty: any.  where: the one that it has to be;
    away: the one that it must not be.

    Raises FleetError if there is none, with the reason; BadArgumentError for a `where` that is no machine.
    """
    known = list(machines)
    if where and where not in {machine.name for machine in known}:
        raise BadArgumentError(
            f"no machine {where!r} in the fleet; there are {', '.join(each.name for each in known) or 'none'}"
        )
    found = [machine for machine in known if where in ("", machine.name) and machine.name != away]
    if not found:
        raise FleetError("the fleet has no other machine; add one with: penglai fleet join")
    ready = [machine for machine in found if not machine.draining]
    if not ready:
        raise FleetError(f"{found[0].name} is being drained; nothing is placed there")
    allowed = [machine for machine in ready if not devices or machine.device_key in devices]
    if not allowed:
        raise FleetError("no machine of the fleet is on a device that the policy allows")
    return [machine.name for machine in sorted(allowed, key=lambda machine: (-machine.free, machine.name))]
