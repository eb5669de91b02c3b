"""What a gdb that has lost its mind sends to the stub."""

import ctypes
import functools

import penglai
from penglai.abi import layout
from penglai.abi.riscv import Pte
from penglai.debug.packets import MOST_BYTES, Reader, checksum, framed
from penglai.debug.packets import Signal as Noise
from penglai.debug.probe import Debugger
from penglai.debug.registers import COUNT
from penglai.debug.stub import REQUESTS, Stub
from penglai.debug.target import MOST_BREAKPOINTS, Target
from penglai.machine.memory import PhysicalMemory
from tests.fuzz.choices import Choices

TITLE = "packets to the stub for gdb"

MOST_PACKETS = 24
PLACES = (0x1000, 0x1001, layout.STACK_TOP - 16, layout.STACK_TOP, layout.KERNEL_BUFFER, 0)
ACTIONS = ("c", "s", "C0b", "S05", "c:1", "s:-1", "x", "c:p1.1", "r1000,2000", "")


@functools.cache
def machine() -> penglai.Machine:
    """A machine for all cases: what they change is put back."""
    made = penglai.Machine("16M", 1, state=None)
    made.create("hello-world", name="hello")
    return made


class Watched(PhysicalMemory):
    """The machine's memory: what is written has to be the enclave's, and can be undone."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self.memory = memory
        self.undo: list[tuple[int, bytes]] = []
        self.writable: set[int] = set()

    def read(self, pa: int, size: int) -> bytes:
        return self.memory.read(pa, size)

    def write(self, pa: int, data: bytes) -> None:
        first, last = self.memory.page_of(pa), self.memory.page_of(pa + len(data) - 1)
        assert {first, last} <= self.writable, "only what the enclave may write"
        self.undo.append((pa, self.memory.read(pa, len(data))))
        self.memory.write(pa, data)

    def put_back(self) -> None:
        while self.undo:
            self.memory.write(*self.undo.pop())


@functools.cache
def known() -> tuple[Debugger, Target, Watched]:
    """An enclave that is halted before its first instruction."""
    (enclave,) = machine()._monitor.enclaves()
    debugger, memory = Debugger(), Watched(machine()._board.memory)
    memory.writable = {page for _, page, pte in enclave.table.mappings() if pte & Pte.W}
    target = Target(enclave, memory, lambda _: None)
    debugger.add(target)
    return debugger, target, memory


def fresh() -> None:
    """Nothing of it is left."""
    machine().close()
    machine.cache_clear()
    known.cache_clear()


def one(data: bytes) -> None:
    """Each packet has an answer that gdb can read; none changes any memory but what the enclave may write."""
    choices = Choices(data)
    debugger, target, memory = known()
    context = bytes(target.context)
    answers: list[bytes] = []
    stub = Stub(debugger.lock, target, answers.append, lambda: None, attached=True)
    for _ in range(1 + choices.below(MOST_PACKETS)):
        packet = some_packet(choices)
        through_reader(choices, packet)
        if len(packet) <= MOST_BYTES:
            answers.clear()
            stub.request(packet)
            judge(answers)
        assert len(target.breakpoints) <= MOST_BREAKPOINTS
        with debugger.lock:
            target.halted = True
    memory.put_back()
    ctypes.memmove(ctypes.addressof(target.context), context, len(context))
    target.breakpoints.clear()


def judge(answers: list[bytes]) -> None:
    """At most one, which is no longer than gdb was told, and ends where it should."""
    assert len(answers) <= 1
    for answer in answers:
        assert len(answer) <= MOST_BYTES
        assert not set(b"#$") & set(answer)


def some_packet(choices: Choices) -> bytes:
    """A request with arguments that fit, nearly fit, or do not fit at all."""
    name = choices.pick([name for name, _ in REQUESTS]).encode()
    address, size = choices.word(PLACES), choices.pick((0, 1, 2, 8, 16, 4096, 1 << 40))
    place = b"%x,%x" % (address, size)
    kinds = (
        lambda: name + choices.take(choices.below(16)),
        lambda: name + place,
        lambda: choices.pick((b"M", b"X")) + place + b":" + choices.take(min(size, 64)).hex().encode(),
        lambda: b"P%x=" % choices.below(COUNT + 2) + choices.take(8).hex().encode(),
        lambda: choices.pick((b"Z0", b"Z1", b"z0", b"z1", b"Z2")) + b"," + place,
        lambda: b"vCont;" + ";".join(choices.pick(ACTIONS) for _ in range(choices.below(4))).encode(),
        lambda: b"qXfer:features:read:target.xml:" + place,
        lambda: choices.take(choices.below(64)),
    )
    return choices.pick(kinds)()


def through_reader(choices: Choices, packet: bytes) -> None:
    """What is framed comes out as it was, whatever noise is around it, and in whatever pieces it comes."""
    reader = Reader()
    if set(b"#$") & set(packet) or len(packet) > MOST_BYTES:
        return
    stream = b"+" * choices.below(3) + framed(packet)
    cut = choices.below(len(stream) + 1)
    assert reader.feed(stream[:cut]) + reader.feed(stream[cut:]) == [packet]
    wrong = b"$" + packet + b"#" + (b"00" if checksum(packet) != b"00" else b"01")
    assert reader.feed(wrong) == [Noise.DAMAGED]
    for request in Reader().feed(choices.take(64)):
        assert isinstance(request, Noise) or len(request) <= MOST_BYTES
