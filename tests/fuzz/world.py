"""A board with the monitor and a few live enclaves, for the targets that go through the host's port.

It is made once, and anew when a case has broken it or `fresh` is called: making it takes much longer than a
case.  After each case all that it made is destroyed, and every page is where it was.
"""

import functools
import re
from collections.abc import Iterator
from contextlib import contextmanager

from penglai.abi.firmware import Extension
from penglai.abi.limits import Limit, Limits
from penglai.abi.riscv import PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveType, HostCall
from penglai.machine import Board
from penglai.monitor.invariants import check
from tests.support.rawhost import EXIT, RawHost

MEMORY = 16 << 20
CHUNKS = 2
PATIENCE_TICKS = 20_000
"""A case that lets an enclave run gets it back after so many ticks of 100 ns."""

DESTROYERS = {
    EnclaveType.NORMAL: HostCall.DESTROY,
    EnclaveType.SERVER: HostCall.DESTROY_SERVER,
    EnclaveType.SHADOW: HostCall.DESTROY_SHADOW,
}


class World:
    """A raw host, and ways to bring it back to the beginning."""

    def __init__(self) -> None:
        self.board = Board(MEMORY, 1)
        self.raw = RawHost(self.board, chunks=CHUNKS)
        self.port = self.board.host_port(self.board.harts[0])
        self.base = self.raw.snapshot()

    def begin(self) -> None:
        """Before each case."""
        self.raw.rewind()
        for kind, value in zip(Limit, Limits(), strict=True):
            assert self.raw.call(HostCall.LIMIT, 0, kind, value).error == 0

    def tick(self) -> None:
        """The hart comes back soon."""
        self.port.ecall(Extension.TIME, 0, self.port.time() + PATIENCE_TICKS)

    def end(self) -> None:
        """After each case: the invariants hold, and everything that it made can go without a trace."""
        raw = self.raw
        check(raw.monitor)
        for kind in (EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW):
            for enclave in raw.monitor.enclaves():
                if enclave.kind is kind:
                    assert raw.call(DESTROYERS[kind], enclave.eid).error == 0, enclave
        self.receive_parcels()
        assert not raw.monitor.platform.registry.shared, "secure shared memory without its creator"
        self.restore_pool()
        assert raw.snapshot() == self.base, "something has stayed behind"

    def receive_parcels(self) -> None:
        """What is on its way to an enclave arrives, and goes with it."""
        raw = self.raw
        raw.rewind()
        parcels = raw.monitor.platform.registry.parcels
        while parcels:
            name = next(iter(parcels))
            created = raw.create(EXIT, name=name_bytes(name))
            assert created.error == 0, created
            raw.start(created.value)
            assert raw.call(HostCall.DESTROY, created.value).error == 0

    def restore_pool(self) -> None:
        """The chunks that were the pool's in the beginning are its own again, and no others."""
        raw, size = self.raw, self.board.memory.size
        if raw.monitor.platform.ownership.snapshot().tobytes() == self.base[0]:
            return
        while raw.call(HostCall.MEMORY_RECLAIM).value:
            pass
        for number in range(1, CHUNKS + 1):
            chunk = RAM_BASE + size - number * (2 << 20)
            assert raw.call(HostCall.MEMORY_EXTEND, chunk, 2 << 20).error == 0


def name_bytes(name: str) -> bytes:
    """The bytes of which the monitor has made this text."""
    return re.sub(
        rb"\\(\\|x[0-9a-f]{2})",
        lambda found: found[1] if found[1] == b"\\" else bytes.fromhex(found[1][1:].decode()),
        name.encode(),
    )


@functools.cache
def world() -> World:
    """The one world."""
    return World()


def fresh() -> None:
    if world.cache_info().currsize:
        world().board.power_off()
        world.cache_clear()


@contextmanager
def case() -> Iterator[World]:
    """The world, for one case.  After a case that broke something the next one gets another world."""
    found = world()
    try:
        found.begin()
        yield found
        found.end()
    except BaseException:
        world.cache_clear()
        raise


def host_addresses(world: World) -> tuple[int, ...]:
    """Physical addresses: of the host's, of the pool, at edges, outside."""
    end = RAM_BASE + world.board.memory.size
    pool = end - CHUNKS * (2 << 20)
    return (
        *(RAM_BASE + number * PAGE_SIZE for number in range(40)),
        *(pool, pool - 8, pool + 5 * PAGE_SIZE, end - PAGE_SIZE, end, end - 8),
        *(RAM_BASE, RAM_BASE + (2 << 20), RAM_BASE + (4 << 20), RAM_BASE - PAGE_SIZE, 0),
    )
