"""A host whose page tables lie, and change while they are read."""

import itertools
import threading

import numpy as np

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, PTE_PPN_SHIFT, Pte
from penglai.abi.sbi import CreateParam, HostCall
from penglai.attestation.measure import measure
from penglai.monitor.enclave import Enclave
from penglai.monitor.invariants import check
from tests.attack.tally import Effort, Tally
from tests.attack.town import MARK, Town
from tests.attack.turns import Choice, Turns, turning_host
from tests.support.rawhost import EXIT, RW, RX, ImageSpec, RawHost, assemble

TITLE = "hostile host: page tables that alias, loop, lead astray, and change under the monitor's eyes"

ENTRY_BITS = [0, Pte.V, Pte.V | Pte.R | Pte.U, Pte.V | Pte.R | Pte.W | Pte.U, Pte.V | Pte.R | Pte.X | Pte.U]
ENTRY_BITS += [
    Pte.V | Pte.R | Pte.W | Pte.X | Pte.U,
    Pte.V | Pte.W | Pte.U,
    Pte.V | Pte.R | Pte.W,
    Pte.V | Pte.U,
]
ENTRY_BITS += [Pte.V | 1 << 54, Pte.V | Pte.R | Pte.U | 1 << 63, Pte.V | Pte.R | Pte.U | 3 << 61]
ENTRY_BITS += [Pte.V | Pte.G, Pte.V | Pte.A | Pte.D, Pte.V | Pte.R | Pte.U | Pte.G | Pte.A | Pte.D | 3 << 8]


def image() -> ImageSpec:
    """Code, data and read-only data in two leaf tables."""
    pages = {0x1000: (RX, assemble(EXIT)), 0x2000: (RW, b"data" * 1024), 0x3000: (Pte.R, b"read" * 1024)}
    return ImageSpec({**pages, 0x40_0000: (RW, b"more" * 1024)})


def attack(effort: Effort) -> Tally:
    """Every entry with every target and bits; flipped bits; tables in motion, by schedule and by thread."""
    tally = Tally()
    for part in (entries, flips, motion_by_schedule, motion_by_thread):
        before = tally.tried
        part(tally, effort)
        tally.notes.append(f"{part.__name__} {tally.tried - before:,}")
    return tally


# ---- tables that lie -------------------------------------------------------------------------------


def entries(tally: Tally, effort: Effort) -> None:
    """One entry of one table leads to each bad place, with each set of bits."""
    town = Town()
    raw = town.raw
    paddr, size = raw.stage(image())
    tables = raw.tables
    targets = dict(town.hostile_addresses())
    targets |= {f"table {path}": pa for path, pa in tables.items()}
    targets |= {"the region's first page": paddr, "behind the region": paddr + size}
    targets |= {"a code page of the image": paddr + size - PAGE_SIZE}
    slots = [(path, slot) for path in tables for slot in (0, 1, 2, 3, 5, 511)]
    cases = list(itertools.product(slots, targets.items(), ENTRY_BITS))
    good = raw.memory.read(paddr, size)
    param = raw.param(paddr, size)
    for (path, slot), (name, target), bits in effort.some(cases, 400):
        with tally.case((path, slot, name, hex(bits))):
            raw.put(tables[path], slot, (target >> 12 & (1 << 44) - 1) << PTE_PPN_SHIFT | bits)
            try_create(town, param)
            raw.memory.write(paddr, good)
    town.close()


def flips(tally: Tally, effort: Effort) -> None:
    """Some bits of some entries are others."""
    town = Town()
    raw = town.raw
    paddr, size = raw.stage(image())
    good, param = raw.memory.read(paddr, size), raw.param(paddr, size)
    tables = list(raw.tables.values())
    chance = effort.random("flips")
    for number in range(effort.count(250, 100_000)):
        with tally.case(("flips", number)):
            for _ in range(chance.randrange(1, 7)):
                table, slot = chance.choice(tables), chance.choice([*range(6), 191, 223, 511])
                entry = int.from_bytes(raw.memory.read(table + 8 * slot, 8), "little")
                raw.put(table, slot, entry ^ 1 << chance.choice([*range(14), *range(64)]))
            try_create(town, param)
            raw.memory.write(paddr, good)
    town.close()


def try_create(town: Town, param: int) -> None:
    """Create makes an enclave of the host's pages, rightly measured, or none; nothing else happens."""
    result = town.raw.call(HostCall.CREATE, param)
    if result.error == 0:
        enclave = town.raw.monitor.enclaves()[-1]
        truly_measured(town.raw, enclave)
        own = town.board.memory.words[enclave.image]
        assert not (own == MARK).any(), "a victim's page was copied into it"
        check(town.raw.monitor)
        assert town.raw.call(HostCall.DESTROY, result.value).error == 0
    town.back_to_the_start()


def truly_measured(raw: RawHost, enclave: Enclave) -> None:
    """The measurement is that of what the enclave has; no page of it is both writable and executable."""
    memory = raw.board.memory
    found = sorted(enclave.table.mappings())
    addresses = np.array([address for address, _, _ in found], dtype=np.uint64)
    addresses[addresses >> np.uint64(38) == 1] |= np.uint64(0xFFFF_FF80_0000_0000)
    pages = np.array([page for _, page, _ in found])
    permissions = np.array([pte & 0x1E for _, _, pte in found], dtype=np.uint8)
    assert not ((permissions & 4 != 0) & (permissions & 8 != 0)).any()
    assert (addresses < layout.STACK_TOP).sum() == len(found) - 1, "all but the kernel buffer"

    def read(which: slice) -> bytes:
        return bytes(memory.pages[pages[which]].tobytes())

    assert measure(enclave.kind, enclave.entry, addresses, permissions, read) == enclave.measurement


# ---- tables in motion ------------------------------------------------------------------------------


class Motion:
    """An image, its parameter, and words of both that change to something hostile and back."""

    def __init__(self, raw: RawHost) -> None:
        self.raw = raw
        self.paddr, self.size = raw.stage(image())
        self.param = raw.param(self.paddr, self.size)
        hidden = raw.board.memory.address_of(int(raw.board.memory.host_visible.argmin()))
        leaf, middle, root = raw.tables[0, 0], raw.tables[0,], raw.tables[()]
        evil = hidden >> 12 << PTE_PPN_SHIFT
        words = [
            (leaf + 8, evil | Pte.V | RX | Pte.U),
            (leaf + 16, int(self._word(leaf + 16)) | Pte.X),
            (leaf + 24, self._word(leaf + 8) & ~0x3FF | Pte.V | RW | Pte.U),
            (middle, evil | Pte.V),
            (middle + 16, root >> 12 << PTE_PPN_SHIFT | Pte.V),
            (root, evil | Pte.V),
        ]
        fields = {"paddr": hidden, "size": 1 << 62, "entry": 1 << 40, "kbuffer": hidden, "eid_pa": hidden}
        fields |= {
            "retval_pa": hidden,
            "shm_paddr": hidden,
            "shm_size": PAGE_SIZE,
            "type": 1,
            "kbuffer_size": 0,
        }
        words += [(self.param + getattr(CreateParam, name).offset, value) for name, value in fields.items()]
        self.changes = [(pa, self._word(pa), value) for pa, value in words]

    def _word(self, pa: int) -> int:
        return int.from_bytes(self.raw.memory.read(pa, 8), "little")

    def flip(self, which: list[int]) -> None:
        """Change these words and change them back, each a write of its own."""
        for number in which:
            pa, good, evil = self.changes[number]
            self.raw.memory.write(pa, evil.to_bytes(8, "little"))
            self.raw.memory.write(pa, good.to_bytes(8, "little"))

    def judge(self, result: object) -> None:
        """Whatever came of it is sound."""
        assert isinstance(result, tuple), result
        check(self.raw.monitor)
        if result[0] == 0:
            enclave = self.raw.monitor.enclaves()[-1]
            truly_measured(self.raw, enclave)
            assert layout.TEXT_BASE <= enclave.entry < layout.HEAP_BASE
            assert self.raw.call(HostCall.DESTROY, result[1]).error == 0


class Filmed:
    """A create, and a thread that changes its words, taking turns."""

    def __init__(self, preemptions: int, *, lines: bool) -> None:
        self.turns = Turns(preemptions, lines=lines)
        self.raw = turning_host(self.turns)
        self.motion = Motion(self.raw)
        self.before = self.raw.snapshot()
        self.plan: list[int] = []

    def schedule(self, prefix: list[int]) -> list[Choice]:
        """Run one schedule of the plan."""
        motion, raw = self.motion, self.raw
        acts = [lambda: raw.call(HostCall.CREATE, motion.param), lambda: motion.flip(self.plan)]
        results, choices = self.turns.run(acts, prefix)
        motion.judge(results[0])
        assert results[1] is None
        assert raw.snapshot() == self.before
        return choices


def motion_by_schedule(tally: Tally, effort: Effort) -> None:
    """Each word, and some together, change at each point of a create."""
    for preemptions, lines in ((2, False), (1, True)):
        film = Filmed(preemptions, lines=lines)
        words = range(len(film.motion.changes))
        chance = effort.random("motion", lines)
        for plan in [[number] for number in words] + [
            chance.sample(words, 3) for _ in words[: effort.count(6)]
        ]:
            film.plan = plan
            schedules = film.turns.sample(film.schedule, effort.count(12), chance)
            if effort.long:
                schedules = film.turns.explore(film.schedule, 3000)
            with tally.case(("in motion", plan, lines)):
                for _ in schedules:
                    tally.tried += 1


def motion_by_thread(tally: Tally, effort: Effort) -> None:
    """The same by threads that never stop changing."""
    town = Town()
    motion = Motion(town.raw)
    over = threading.Event()

    def restless(seed: int) -> None:
        chance = effort.random("restless", seed)
        while not over.is_set():
            motion.flip([chance.randrange(len(motion.changes))])

    threads = [threading.Thread(target=restless, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    try:
        for number in range(effort.count(80, 20_000)):
            with tally.case(("restless", number)):
                motion.judge(town.raw.call(HostCall.CREATE, motion.param))
                if number % 20 == 0:
                    town.back_to_the_start()
    finally:
        over.set()
        for thread in threads:
            thread.join()
    with tally.case("restless, afterwards"):
        town.back_to_the_start()
    town.close()
