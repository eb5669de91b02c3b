"""Calls of the monitor by a hostile host, while enclaves, servers and shadows live."""

import contextlib

from penglai.abi import sbi
from penglai.abi.ecall import Ocall
from penglai.abi.errors import AccessFault
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveType, HostCall, ResumeReason, RunParam, RunValue
from tests.fuzz import world
from tests.fuzz.choices import Choices
from tests.fuzz.world import DESTROYERS, World, case, host_addresses
from tests.support.rawhost import EXIT, answering, call, calling, name_at, program

TITLE = "the monitor's calls, in any order"
fresh = world.fresh

MOST_CALLS = 40
NAME_PLACE = 0x38_0000_0000 - 256
BUSY = (
    "li s5, 3\n1: "
    + call(89)
    + call(98, 3)
    + call(98, 4, PAGE_SIZE)
    + call(98, 1, 0, 2 * PAGE_SIZE)
    + "addi s5, s5, -1\n"
    "bnez s5, 1b\n" + call(98, 5, 7) + call(98, 7) + name_at(NAME_PLACE, "raw") + call(97, NAME_PLACE) + EXIT
)
"""Yields, writes, grows, maps, reads a sector, returns relay pages, looks for a server, ends."""
GREEDY = "li s5, 2000\n1: " + call(98, 4, 64 * PAGE_SIZE) + "addi s5, s5, -1\nbnez s5, 1b\n" + EXIT
"""Takes all memory that there is."""
SERVER = "mv s5, a0\n" + call(89) + answering("s5")
FAULTING = "li t0, 0x123000\nld t0, 0(t0)\n"
PROGRAMS = (BUSY, calling("server") + EXIT, GREEDY, FAULTING, EXIT, "1: j 1b\n")

CREATES = (HostCall.CREATE, HostCall.CREATE_SERVER, HostCall.CREATE_SHADOW, HostCall.RUN_SHADOW)
OF_ENCLAVES = tuple(
    getattr(HostCall, name)
    for name in (
        *("RUN", "RUN", "RESUME", "RESUME", "RESUME", "STOP", "STOP", "ATTEST", "DESTROY", "RUN_SHADOW"),
        *("DESTROY_SERVER", "DESTROY_SHADOW", "ATTEST_SHADOW", "INFO", "RUN_SHADOW"),
    )
)
OTHERS = (HostCall.MEMORY_EXTEND, HostCall.MEMORY_RECLAIM, HostCall.SCHRODINGER_INIT, HostCall.DEBUG_PRINT)
ALL = (*HostCall, 0, 101, 82, 81, 1 << 32 | 97, (1 << 64) - 1)


class Host:
    """A host with a few enclaves, and what it knows of them."""

    def __init__(self, found: World) -> None:
        self.world = found
        raw = found.raw
        self.eids = [raw.make_server("server", SERVER), raw.make_shadow(BUSY)]
        self.addresses = host_addresses(found)
        self.param = raw.page()
        self.shadow_param = raw.shadow_run_param()

    def add(self, number: int) -> None:
        raw = self.world.raw
        paddr, size = raw.stage(program(PROGRAMS[number % len(PROGRAMS)]))
        result = raw.call(HostCall.CREATE, raw.param(paddr, size))
        if not result.error:
            self.eids.append(result.value)


def one(data: bytes) -> None:
    """Every call has an answer that it may have, and afterwards everything can be taken back."""
    choices = Choices(data)
    with case() as found:
        host = Host(found)
        for _ in range(1 + choices.below(4)):
            host.add(choices.below(len(PROGRAMS)))
        for _ in range(MOST_CALLS):
            if not choices.left:
                break
            with contextlib.suppress(AccessFault):  # of the host's own, to what it has given away
                step(host, choices)


def step(host: Host, choices: Choices) -> None:
    """One call, most of them such as do something."""
    found, raw = host.world, host.world.raw
    kind = choices.below(16)
    port = raw.port if choices.rarely(4) else found.port
    function: int
    arguments: tuple[int, ...]
    found.tick()
    if kind == 1 and len(host.eids) < 12:
        host.add(choices.below(len(PROGRAMS)))
        return
    if kind == 2:
        relay = choices.word(host.addresses)
        param = RunParam(relay_pa=relay, relay_size=choices.pick((PAGE_SIZE, 2 * PAGE_SIZE, 0)))
        raw.memory.write(host.param, bytes(param))
        return
    if kind < 10:
        function, arguments = _sensible(host, choices)
    elif kind < 12:
        function, arguments = choices.pick(OF_ENCLAVES), _plausible(host, choices)
    elif kind < 14:
        function = choices.pick(OTHERS)
        where = choices.word((RAM_BASE + (2 << 20), *host.addresses))
        arguments = where, choices.word((CHUNK_SIZE, PAGE_SIZE))
    else:
        function = choices.pick(ALL)
        arguments = tuple(choices.word(host.addresses) for _ in range(choices.below(7)))
    extension = choices.word((0x10, sbi.EXTENSION + 1)) if choices.rarely(64) else sbi.EXTENSION
    result = port.ecall(extension, function, *arguments)
    _judge(host, function, arguments, result)


def _sensible(host: Host, choices: Choices) -> tuple[int, tuple[int, ...]]:
    """What a driver might do with one of its enclaves."""
    eid, page = choices.pick(host.eids), RAM_BASE + (1 << 20)
    ocall = host.world.raw.word(0)
    return choices.pick(
        (
            (HostCall.RUN, (eid, host.param)),
            (HostCall.RESUME, (eid, ResumeReason.TIMER)),
            (HostCall.RESUME, (eid, ResumeReason.OCALL, ocall, choices.pick(host.addresses), PAGE_SIZE)),
            (HostCall.RESUME, (eid, ResumeReason.OCALL, ocall, 0, 0)),
            (HostCall.STOP, (eid,)),
            (HostCall.RESUME, (eid, ResumeReason.STOP)),
            (HostCall.RUN_SHADOW, (eid, host.shadow_param)),
            (HostCall.ATTEST, (eid, page, 42)),
            (HostCall.INFO, (eid, page, page + 256)),
            (DESTROYERS[choices.pick(tuple(EnclaveType))], (eid,)),
        )
    )


def _plausible(host: Host, choices: Choices) -> tuple[int, ...]:
    """An eid, a reason, an ocall, an address, a size."""
    eid = choices.word(host.eids)
    ocall = choices.word((Ocall.WRITE, Ocall.SBRK, Ocall.RETURN_RELAY, Ocall.READ_SECTOR))
    reason = choices.word((0, 1, 2, 2))
    return eid, reason, ocall, choices.word(host.addresses), choices.word((0, PAGE_SIZE, 1))


def _judge(host: Host, function: int, arguments: tuple[int, ...], result: sbi.SbiResult) -> None:
    assert -9 <= result.error <= 0, (function, arguments, result)
    assert 0 <= result.value < 1 << 64
    entering = function in (HostCall.RUN, HostCall.RESUME, HostCall.RUN_SHADOW)
    if result.error == 0 and entering:
        assert result.value in tuple(RunValue), result
    if result.error == 0 and function == HostCall.RUN_SHADOW and arguments[1] == host.shadow_param:
        host.eids.append(host.world.raw.last_eid())
