"""Host threads and harts that do everything at once to the same enclaves, pages and chunks."""

import random
import threading

from penglai.abi.ecall import Ocall
from penglai.abi.firmware import Extension
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.abi.sbi import HostCall, ResumeReason, RunParam
from penglai.machine import HostPort
from tests.attack.tally import Effort, Tally
from tests.attack.town import FILL, Town
from tests.support.rawhost import EXIT, FOREVER, answering, call, calling, program
from tests.support.waiting import PATIENCE

TITLE = "hostile host: a storm of calls from four threads and two harts on the same enclaves and pages"

CALLS = 250
PROGRAMS = (
    FILL + FOREVER,
    FILL + call(98, Ocall.WRITE) + EXIT,
    calling("storm") + EXIT,
    "1: " + call(98, Ocall.SBRK, PAGE_SIZE) + call(98, Ocall.SBRK, -PAGE_SIZE) + "j 1b\n",
)


class Storm:
    """What the threads have in common: eids, pages that all of them give away, the town."""

    def __init__(self) -> None:
        self.town = Town(megabytes=32, chunks=3)
        raw = self.town.raw
        self.eids: list[int] = [self.town.dead]
        self.pages = [raw.page() for _ in range(3)]
        self.spare = [raw.board.memory.base + number * CHUNK_SIZE for number in (5, 6, 7)]
        self.params = [self._prepare(text) for text in PROGRAMS for _ in range(2)]
        raw.make_server("storm", "mv s5, a0\n" + answering("s5"))
        self.eids.append(raw.make_shadow(program(FILL + FOREVER)))
        self.instance = raw.shadow_run_param(relay_pa=self.pages[0], relay_size=PAGE_SIZE)
        self.run = [raw.run_param(), raw.run_param()]
        raw.memory.write(self.run[1], bytes(RunParam(relay_pa=self.pages[1], relay_size=PAGE_SIZE)))
        self.report = raw.page()
        self.problems: list[str] = []

    def _prepare(self, text: str) -> int:
        """A create_param that any thread may use; its kernel buffer and shared memory are fought for."""
        raw = self.town.raw
        paddr, size = raw.stage(program(text))
        return raw.param(paddr, size, shm_paddr=self.pages[2], shm_size=PAGE_SIZE)

    def blow(self, chance: random.Random, port: HostPort, *, on_hart: bool) -> None:
        """One thread."""
        try:
            for _ in range(CALLS):
                self.one(chance, port, on_hart=on_hart)
        except BaseException as error:
            self.problems.append(repr(error))

    def one(self, chance: random.Random, port: HostPort, *, on_hart: bool) -> None:
        eid = chance.choice(self.eids[-12:])
        if on_hart:
            port.ecall(Extension.TIME, 0, port.time() + 2_000)
        function, *arguments = chance.choice(
            [
                (HostCall.CREATE, chance.choice(self.params)),
                (HostCall.CREATE, chance.choice(self.params)),
                (HostCall.RUN, eid, chance.choice(self.run)),
                (HostCall.RUN, eid, chance.choice(self.run)),
                (HostCall.RESUME, eid, ResumeReason.TIMER),
                (HostCall.RESUME, eid, ResumeReason.TIMER),
                (HostCall.RESUME, eid, ResumeReason.STOP),
                (HostCall.RESUME, eid, ResumeReason.OCALL, Ocall.WRITE),
                (HostCall.STOP, eid),
                (HostCall.DESTROY, eid),
                (HostCall.DESTROY_SHADOW, eid),
                (HostCall.RUN_SHADOW, eid, self.instance),
                (HostCall.ATTEST, eid, self.report, 1),
                (HostCall.INFO, eid, self.report, self.report + 1024),
                (HostCall.MEMORY_EXTEND, chance.choice(self.spare), CHUNK_SIZE),
                (HostCall.MEMORY_EXTEND, chance.choice(self.pages) & -CHUNK_SIZE, CHUNK_SIZE),
                (HostCall.MEMORY_RECLAIM,),
            ]
        )
        if eid in self.town.eids and function not in (HostCall.CREATE, HostCall.INFO):
            return
        result = self.town.raw.call(function, *arguments, port=port)
        if function is HostCall.CREATE and result.error == 0:
            self.eids.append(result.value)

    def rage(self, effort: Effort, number: int) -> None:
        """All threads, to the end; then everything is found as it should be."""
        town = self.town
        ports = [*town.ports, town.board.host_port(), town.board.host_port()]
        threads = [
            threading.Thread(
                target=self.blow,
                args=(effort.random("storm", number, index), port),
                kwargs={"on_hart": index < 2},
                daemon=True,
            )
            for index, port in enumerate(ports)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
            assert not thread.is_alive(), "a thread never comes back"
        assert self.problems == []
        town.end_others()
        town.sound()
        left = [each for each in town.raw.monitor.enclaves() if each.eid not in town.eids]
        assert left == []
        owned = town.raw.monitor.platform.ownership.snapshot()
        assert set(owned[owned > 0].tolist()) <= town.eids, "pages are left with enclaves that are gone"


def attack(effort: Effort) -> Tally:
    """Storm after storm."""
    tally = Tally()
    for number in range(effort.count(8, 500)):
        with tally.case(("storm", number)):
            storm = Storm()
            storm.rage(effort, number)
            storm.town.close()
            tally.tried += 4 * CALLS - 1
    tally.notes.append(f"{effort.count(8, 500)} storms")
    return tally
