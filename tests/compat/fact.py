"""A fact of Penglai-TVM's behaviour, with the programs that show it."""

from dataclasses import dataclass, field
from enum import StrEnum

DIES = "dies"
"""What is got where the enclave is destroyed for what it did."""


class Relied(StrEnum):
    """May programs rely on it?"""

    YES = "R"
    NO = "A"


@dataclass(frozen=True)
class Fact:
    """One row of the table.

    name: of the row.  section: of what it is about.  says: the fact.  expected: what the program's value is
    there (a number), or DIES; native: what it is here, where that differs.  body: of the enclave's function,
    in C. servers: bodies by name.  shared, relay: bytes of what the host gives it; servers see the shared
    memory too. disk: the host names the shared memory for sectors before.  then: name and body of an enclave
    that is run afterwards, with relay pages of size 0, and whose value counts instead.  services: servers
    that are shipped, made before all others.
    """

    name: str
    section: str
    says: str
    expected: int | str
    body: str
    relied: Relied = Relied.YES
    native: int | str | None = None
    servers: dict[str, str] = field(default_factory=dict)
    shared: int = 0
    relay: int = 0
    disk: bool = False
    then: tuple[str, str] | None = None
    services: tuple[str, ...] = ()

    @property
    def here(self) -> int | str:
        """What is expected of the native profile."""
        return self.expected if self.native is None else self.native

    def programs(self) -> dict[str, str]:
        """Bodies of all enclaves: "" is the one that is run, names of servers, and "then"."""
        later = {} if self.then is None else {"then": self.then[1]}
        return {"": self.body, **self.servers, **later}
