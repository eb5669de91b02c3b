"""A board full of victims, and what must hold of them whatever anybody else does."""

import numpy as np

from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall, RunParam, RunValue
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from penglai.monitor.enclave import Enclave
from penglai.monitor.invariants import check
from tests.support.rawhost import FOREVER, RW, RX, ImageSpec, RawHost, assemble, call

MARK = int.from_bytes(b"victim's", "little")
MARKED_PAGE = MARK.to_bytes(8, "little") * (PAGE_SIZE // 8)

FILL = f"""
li s2, {MARK}
{call(98, 1, 0, 2 * PAGE_SIZE)}
li t0, {2 * PAGE_SIZE}
add t0, t0, a0
1: sd s2, 0(a0)
addi a0, a0, 8
bltu a0, t0, 1b
"""
"""Fills two pages of memory from the pool with the mark, and leaves it in a register."""


def marked(text: str) -> ImageSpec:
    """A program with a page of marks."""
    return ImageSpec({0x1000: (RX, assemble(text)), 0x8000: (RW, MARKED_PAGE)})


class Town:
    """raw: the host.  Victims: one of each kind and state, all with pages full of the mark.

    Nothing that the host sees may hold the mark, and no page of a victim may change.
    """

    def __init__(self, megabytes: int = 16, chunks: int = 2) -> None:
        self.board = Board(megabytes << 20, 2)
        self.raw = RawHost(self.board, chunks)
        self.ports: list[HostPort] = [self.board.host_port(hart) for hart in self.board.harts]
        raw = self.raw
        self.dead = raw.make(FOREVER)
        assert raw.call(HostCall.DESTROY, self.dead).error == 0
        self.fresh = raw.make(marked(FOREVER))
        self.server = raw.make_server("victim", marked(FOREVER))
        self.shadow = raw.make_shadow(marked(FOREVER))
        self.instance = raw.instance(self.shadow)
        self.shm, self.relay = raw.page(), raw.page()
        paddr, size = raw.stage(marked(FILL + call(89) + FOREVER))
        made = raw.call(HostCall.CREATE, raw.param(paddr, size, shm_paddr=self.shm, shm_size=PAGE_SIZE))
        assert made.error == 0
        self.stopped = made.value
        self.buffer = raw.kernel_buffer
        run = raw.run_param()
        raw.memory.write(run, bytes(RunParam(relay_pa=self.relay, relay_size=PAGE_SIZE)))
        assert raw.call(HostCall.RUN, self.stopped, run, port=self.ports[0]) == (0, RunValue.YIELD)
        for eid in (self.stopped, self.instance):
            assert raw.call(HostCall.STOP, eid).error == 0
        self._hide_the_images()
        self.victims = raw.monitor.enclaves()
        self._kept = {victim.eid: (victim.state, self._pages_of(victim)) for victim in self.victims}
        self.start = raw.snapshot()
        self.free_from = raw.page()
        """The first page of the host's that is free for others."""
        self.sound()

    @property
    def eids(self) -> set[int]:
        """Of the victims."""
        return set(self._kept)

    def sound(self) -> None:
        """Raise if anything of a victim has changed or can be seen, or an invariant does not hold."""
        check(self.raw.monitor)
        holding = np.unique(np.flatnonzero(self.board.memory.words.reshape(-1) == MARK) // 512)
        assert not self.board.memory.host_visible[holding].any(), "the host sees memory of a victim"
        for victim in self.victims:
            state, pages = self._kept[victim.eid]
            assert victim.state is state, f"{victim!r} was {state}"
            assert self._pages_of(victim) == pages, f"memory of {victim!r} has changed"

    def back_to_the_start(self) -> None:
        """Sound, and every page and enclave as it was in the beginning."""
        self.sound()
        assert self.raw.snapshot() == self.start, "something was lost, or is left"

    def end_others(self) -> None:
        """Destroy whatever is no victim."""
        eids = self._kept.keys()
        for function in (HostCall.DESTROY, HostCall.DESTROY_SERVER, HostCall.DESTROY_SHADOW):
            for enclave in self.raw.monitor.enclaves():
                if enclave.eid not in eids and enclave.state is not State.BUSY:
                    self.raw.call(function, enclave.eid)

    def close(self) -> None:
        self.board.power_off()

    def hostile_addresses(self) -> dict[str, int]:
        """Physical addresses that are not the host's to give, or are at an edge."""
        memory = self.board.memory
        record = next(victim for victim in self.victims if victim.eid == self.stopped)
        pool = int(np.flatnonzero(self.raw.monitor.platform.ownership.snapshot() == -2)[0])
        pages = {
            "a victim's page": int(record.image[0]),
            "a victim's table": record.table.tables[0],
            "a page of the pool": pool,
        }
        end = memory.base + memory.size
        return {
            **{name: memory.address_of(page) for name, page in pages.items()},
            "a victim's relay page": self.relay,
            "a victim's shared memory": self.shm,
            "a victim's kernel buffer": self.buffer,
            "nothing": 0,
            "below RAM": memory.base - PAGE_SIZE,
            "before a hidden page": memory.address_of(int(memory.host_visible.argmin())) - 8,
            "the end of RAM": end,
            "the last page of RAM": end - PAGE_SIZE,
            "an odd address": memory.base + 0x3001,
            "4 GiB": 1 << 32,
            "beyond physical addresses": 1 << 56,
            "the sign": 1 << 63,
            "the last page": (1 << 64) - PAGE_SIZE,
            "the last word": (1 << 64) - 8,
            "the last byte": (1 << 64) - 1,
        }

    def _pages_of(self, victim: Enclave) -> bytes:
        pages = np.concatenate([*victim.owned(), victim.table.tables])
        return bytes(self.board.memory.pages[pages].tobytes())

    def _hide_the_images(self) -> None:
        """The host forgets what it has put into the victims."""
        memory = self.board.memory
        holding = np.unique(np.flatnonzero(memory.words.reshape(-1) == MARK) // 512)
        memory.pages[holding[memory.host_visible[holding]]] = 0
