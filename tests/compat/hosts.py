"""What host programs rely on: calls of the device, on Linux."""

import re

from tests.compat.programs import program
from tests.support import linux

EINVAL = 22

EXPECTED = {
    "eid": ("eids are greater than 0", 1),
    "attest fresh": ("attest of a fresh enclave: 0", 0),
    "run": ("run to the end: 0", 0),
    "value": ("retval has all 64 bits", 1),
    "run ended": ("run of one that has ended: -1, errno 22", -EINVAL),
    "stop ended": ("stop of one that has ended: -1, errno 22", -EINVAL),
    "resume ended": ("resume of one that has ended: -1, errno 22", -EINVAL),
    "destroy ended": ("destroy of one that has ended: -1, errno 22", -EINVAL),
    "attest ended": ("attest of one that has ended: -1, errno 22", -EINVAL),
    "destroy fresh": ("destroy of a fresh enclave: 0", 0),
    "name without NUL": ("a name of 16 bytes without NUL is one", 0),
    "equal names": ("normal enclaves may have equal names", 0),
    "shared memory id": ("ids of shared memory are greater than 0; key and flags are ignored", 1),
    "relay pages id": ("ids of relay pages likewise", 1),
    "no shared memory": ("a size of 0: no shared memory", 0),
    "stray id": ("a size of 0 with an id that is none: likewise", 0),
    "another file": ("an enclave outlives the file by which it was made", 0),
}
"""By name: the fact, and what is expected."""


def observe() -> dict[str, int | str]:
    """What is got, by name."""
    files = {
        "hostfacts": linux.host_program("hostfacts"),
        "value": program("return 0xfedcba9876543210UL;", server=False),
    }
    ran = linux.run("/hostfacts /value", files)
    found = re.findall(r"^host (.*): (-?\d+)\r?$", ran.output, re.MULTILINE)
    return {name: int(value) for name, value in found}
