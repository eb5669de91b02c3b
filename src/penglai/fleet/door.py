"""How processes get into a cluster of Ray's, and what each finds in its environment."""

from dataclasses import dataclass
from pathlib import Path

ENVIRONMENT = {
    "RAY_AUTH_MODE": "token",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",  # addresses of the loopback stay what they are, on Linux too
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",  # standard output is the program's, not Ray's
    "RAY_enable_worker_prestart": "false",
    "RAY_prestart_worker_first_driver": "false",
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "10000",
}
"""Of every process of a fleet."""


@dataclass(frozen=True)
class Door:
    """How to get to a cluster.  address: host:port.  token: a file with what everybody has to show there."""

    address: str
    token: Path

    def environment(self) -> dict[str, str]:
        """What Ray has to find in the environment of whoever goes in."""
        return {**ENVIRONMENT, "RAY_AUTH_TOKEN_PATH": str(self.token)}


@dataclass(frozen=True)
class Plan:
    """A node that is to be started.

    name: of the node.  directory: of the cluster, short, since sockets lie below.  address: of the cluster
    that it joins; empty: it is the first node of one.  tied: it ends when its input is closed.
    """

    name: str
    directory: str
    pages: int
    harts: int
    address: str = ""
    tied: bool = False
