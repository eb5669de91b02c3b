"""One call of every kind, ready to be made: what fails in the middle is made to fail in each of them."""

from collections.abc import Callable
from dataclasses import dataclass

from penglai.abi.ecall import Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveType, HostCall, ResumeReason, RunParam, RunValue
from penglai.machine import Board, HostPort
from tests.attack.town import marked
from tests.support.rawhost import EXIT, FOREVER, RawHost, answering, call, calling, lending, name_at
from tests.support.snapshots import Mover

STACK = 0x38_0000_0000
MMAP = call(98, Ocall.MMAP, 0, 2 * PAGE_SIZE) + "mv s2, a0\n"


@dataclass
class Scene:
    """call: makes the call and returns its answer.  raw: the host."""

    raw: RawHost
    call: Callable[[], object]


def host() -> tuple[RawHost, HostPort]:
    raw = RawHost(Board(8 << 20, 1), chunks=1)
    return raw, raw.board.host_port(raw.board.harts[0])


def _create(kind: EnclaveType, function: HostCall) -> Scene:
    raw, _ = host()
    spec = marked(EXIT)
    spec.stack_pages = 0 if kind is EnclaveType.SHADOW else 2
    paddr, size = raw.stage(spec)
    param = raw.param(paddr, size, name=b"new", type=kind, shm_paddr=raw.page(), shm_size=PAGE_SIZE)
    return Scene(raw, lambda: raw.call(function, param))


def _run(*, relay: bool, on_hart: bool) -> Scene:
    raw, port = host()
    eid, param = raw.make(marked(FOREVER if not on_hart else EXIT)), raw.run_param()
    if relay:
        raw.memory.write(param, bytes(RunParam(relay_pa=raw.page(), relay_size=PAGE_SIZE)))
    return Scene(raw, lambda: raw.call(HostCall.RUN, eid, param, port=port if on_hart else None))


def _run_shadow(*, relay: bool) -> Scene:
    raw, _ = host()
    shadow = raw.make_shadow(marked(EXIT))
    more = {"relay_pa": raw.page(), "relay_size": PAGE_SIZE} if relay else {}
    param = raw.shadow_run_param(**more)
    return Scene(raw, lambda: raw.call(HostCall.RUN_SHADOW, shadow, param))


def _on_started(act: Callable[[RawHost, int, HostPort], object], text: str = FOREVER) -> Scene:
    """A call on an enclave that has run on a hart until it wrote, which is not answered."""
    raw, port = host()
    eid = raw.make(marked(call(98, Ocall.WRITE) + text))
    raw.start(eid)
    assert raw.enter(eid, port) == (0, RunValue.OCALL)
    return Scene(raw, lambda: act(raw, eid, port))


def _resume() -> Scene:
    scene = _on_started(lambda raw, eid, _: raw.call(HostCall.RESUME, eid, ResumeReason.STOP))
    for enclave in scene.raw.monitor.enclaves():
        assert scene.raw.call(HostCall.STOP, enclave.eid).error == 0
    return scene


def _destroy_all_sorts() -> Scene:
    """Of an enclave with heap, mapping, secure and host shared memory, relay pages, a final account."""
    raw, port = host()
    text = MMAP + call(98, Ocall.SBRK, PAGE_SIZE) + call(98, Ocall.SHM_GET, 5, PAGE_SIZE) + call(84, 5)
    paddr, size = raw.stage(marked(text + call(89) + FOREVER))
    eid = raw.call(HostCall.CREATE, raw.param(paddr, size, shm_paddr=raw.page(), shm_size=PAGE_SIZE)).value
    param, account = raw.run_param(), raw.page()
    raw.memory.write(param, bytes(RunParam(relay_pa=raw.page(), relay_size=PAGE_SIZE)))
    assert raw.call(HostCall.RUN, eid, param, port=port) == (0, RunValue.YIELD)
    assert raw.call(HostCall.INFO, eid, 0, account).error == 0
    return Scene(raw, lambda: raw.call(HostCall.DESTROY, eid))


def _stopped() -> tuple[Mover, int]:
    """Who moves it, and an enclave that has run and is stopped."""
    raw = _on_started(lambda raw, eid, _: raw.call(HostCall.STOP, eid)).raw
    (enclave,) = raw.monitor.enclaves()
    assert raw.call(HostCall.STOP, enclave.eid).error == 0
    return Mover(raw), enclave.eid


def _snapshot(*, taken: int) -> Scene:
    """The next of the calls that make a snapshot, after so many of them."""
    mover, eid = _stopped()
    calls = (
        lambda: mover.begin(eid),
        lambda: mover.next(eid),
        lambda: mover.go(eid),
    )
    for call_ in calls[:taken]:
        assert call_().error == 0
    return Scene(mover.raw, calls[taken])


def _restore(*, filled: bool) -> Scene:
    """An enclave that has moved comes back: its first piece, or its last."""
    mover, eid = _stopped()
    raw = mover.raw
    head, first, last = mover.move(eid)
    param = mover.restore_param(head, first)
    if not filled:
        return Scene(raw, lambda: raw.call(HostCall.RESTORE, param))
    eid = raw.call(HostCall.RESTORE, param).value
    return Scene(raw, lambda: mover.restore_piece(eid, last))


def _last_instance() -> Scene:
    raw, _ = host()
    shadow = raw.make_shadow(marked(FOREVER))
    eid = raw.instance(shadow)
    assert raw.call(HostCall.DESTROY_SHADOW, shadow).error == 0
    return Scene(raw, lambda: raw.call(HostCall.DESTROY, eid))


def _by_eid(function: HostCall, make: Callable[[RawHost], int], *arguments: int) -> Scene:
    raw, _ = host()
    eid = make(raw)
    return Scene(raw, lambda: raw.call(function, eid, *arguments))


def _memory(function: HostCall) -> Scene:
    raw, _ = host()
    raw.make(marked(EXIT))
    spare = RAM_BASE + 2 * CHUNK_SIZE
    if function is HostCall.MEMORY_RECLAIM:
        assert raw.call(HostCall.MEMORY_EXTEND, spare, CHUNK_SIZE).error == 0
    return Scene(raw, lambda: raw.call(function, spare, CHUNK_SIZE))


def _own_call(text: str, *servers: tuple[str, str], after: str = EXIT) -> Scene:
    """An enclave that makes a call of its own on a hart."""
    raw, port = host()
    for name, body in servers:
        raw.make_server(name, body)
    eid = raw.make(marked(text + after))
    raw.start(eid)
    return Scene(raw, lambda: raw.enter(eid, port))


def _parcel() -> Scene:
    where = STACK - 256
    text = MMAP + name_at(where, "other") + f"li t1, {where + 64}\nsd s2, 16(t1)\nli t0, {2 * PAGE_SIZE}\n"
    return _own_call(text + "sd t0, 24(t1)\n" + call(93, where, where + 64))


def _open_parcel() -> Scene:
    """A start that finds the pages of an asynchronous call."""
    scene = _parcel()
    raw = scene.raw
    assert scene.call() == (0, RunValue.ENDED)
    spec = marked(FOREVER)
    paddr, size = raw.stage(spec)
    eid, param = raw.call(HostCall.CREATE, raw.param(paddr, size, name=b"other")).value, raw.run_param()
    return Scene(raw, lambda: raw.call(HostCall.RUN, eid, param))


NORMAL, SERVER, SHADOW = EnclaveType.NORMAL, EnclaveType.SERVER, EnclaveType.SHADOW
LEND = MMAP + f"li s3, {2 * PAGE_SIZE}\n" + lending("server", "s2", "s3")
ANSWER_PAGES = MMAP + f"li s3, {2 * PAGE_SIZE}\n" + answering("s3", "s2", "s3")

SCENES: dict[str, Callable[[], Scene]] = {
    "create": lambda: _create(NORMAL, HostCall.CREATE),
    "create server": lambda: _create(SERVER, HostCall.CREATE_SERVER),
    "create shadow": lambda: _create(SHADOW, HostCall.CREATE_SHADOW),
    "run": lambda: _run(relay=False, on_hart=False),
    "run with relay pages": lambda: _run(relay=True, on_hart=False),
    "run to the end on a hart": lambda: _run(relay=True, on_hart=True),
    "run an instance": lambda: _run_shadow(relay=False),
    "run an instance with relay pages": lambda: _run_shadow(relay=True),
    "run with a parcel": _open_parcel,
    "stop": lambda: _on_started(lambda raw, eid, _: raw.call(HostCall.STOP, eid)),
    "resume": _resume,
    "answer": lambda: _on_started(lambda raw, eid, _: raw.answer(eid)),
    "answer on a hart": lambda: _on_started(lambda raw, eid, port: raw.answer(eid, port=port), EXIT),
    "destroy": _destroy_all_sorts,
    "destroy a server": lambda: _by_eid(
        HostCall.DESTROY_SERVER, lambda raw: raw.make_server("s", marked(FOREVER))
    ),
    "destroy a shadow": lambda: _by_eid(
        HostCall.DESTROY_SHADOW, lambda raw: raw.make_shadow(marked(FOREVER))
    ),
    "destroy the last instance": _last_instance,
    "attest": lambda: _by_eid(HostCall.ATTEST, lambda raw: raw.make(marked(EXIT)), RAM_BASE + 0x10_0000, 1),
    "info": lambda: _by_eid(HostCall.INFO, lambda raw: raw.make(marked(EXIT)), RAM_BASE + 0x10_0000, 0),
    "extend": lambda: _memory(HostCall.MEMORY_EXTEND),
    "reclaim": lambda: _memory(HostCall.MEMORY_RECLAIM),
    "snapshot": lambda: _snapshot(taken=0),
    "snapshot piece": lambda: _snapshot(taken=1),
    "move": lambda: _snapshot(taken=2),
    "restore": lambda: _restore(filled=False),
    "restore piece": lambda: _restore(filled=True),
    "sbrk and back": lambda: _own_call(
        call(98, Ocall.SBRK, PAGE_SIZE * 3) + call(98, Ocall.SBRK, -PAGE_SIZE * 2)
    ),
    "mmap and unmap": lambda: _own_call(MMAP + call(98, Ocall.UNMAP, "mv a1, s2", PAGE_SIZE)),
    "a server's call": lambda: _own_call(calling("server"), ("server", "mv s5, a0\n" + answering("s5"))),
    "a server's call with pages": lambda: _own_call(LEND, ("server", answering("x0"))),
    "a server's answer with pages": lambda: _own_call(calling("server"), ("server", ANSWER_PAGES)),
    "a server that faults": lambda: _own_call(LEND, ("server", "unimp")),
    "an asynchronous call": _parcel,
    "secure shared memory": lambda: _own_call(
        call(98, Ocall.SHM_GET, 5, PAGE_SIZE)
        + call(98, Ocall.SHM_EXTEND, 5, PAGE_SIZE)
        + call(84, 5)
        + call(98, Ocall.SHM_DETACH, 5)
        + call(98, Ocall.SHM_DESTROY, 5)
    ),
    "report, key, random": lambda: _own_call(
        call(94, 0, STACK - 512, 1) + call(88, 0, STACK - 512, 32) + call(98, Ocall.GETRANDOM, STACK - 512, 8)
    ),
    "a fault": lambda: _own_call("li t0, 64\nld t0, 0(t0)\n"),
}
