"""A host without a driver: it makes SBI calls with whatever parameters it likes."""

import ctypes
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count

from penglai.abi import layout, sbi
from penglai.abi.ecall import Ocall
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, PTE_PPN_SHIFT, RAM_BASE, Pte
from penglai.abi.sbi import (
    CreateParam,
    EnclaveInfo,
    EnclaveType,
    HostCall,
    ResumeReason,
    RunValue,
    SbiResult,
    ShadowRunParam,
)
from penglai.abi.state import State
from penglai.machine import Board, HostPort
from penglai.monitor import Monitor
from penglai.monitor.calls import NATIVE
from penglai.monitor.invariants import check
from penglai.monitor.platform import Profile
from tests.support.bare import assemble

RX, RW = Pte.R | Pte.X, Pte.R | Pte.W

EXIT = "li a6, 0x100101\nli a7, 99\necall\n"
FOREVER = "1: addi s0, s0, 1\nj 1b\n"


def call(function: int, *arguments: int | str) -> str:
    """A Penglai call.  arguments: numbers, or instructions that leave it in the register."""
    loads = "".join(
        f"li a{index}, {value}\n" if isinstance(value, int) else f"{value}\n"
        for index, value in enumerate(arguments)
    )
    return f"{loads}li a6, 0x100101\nli a7, {function}\necall\n"


def store(address: int, *words: int | str) -> str:
    """Store words from address on: numbers, or names of registers (not t0, t1)."""
    text = f"li t1, {address}\n"
    for index, word in enumerate(words):
        text += f"li t0, {word}\n" if isinstance(word, int) else f"mv t0, {word}\n"
        text += f"sd t0, {8 * index}(t1)\n"
    return text


def name_at(address: int, name: str) -> str:
    """Store a name, NUL-ended."""
    raw = name.encode().ljust(16, b"\0")
    return store(address, *(int.from_bytes(raw[n : n + 8], "little") for n in (0, 8)))


def calling(name: str, argument: int = 7, address: int | str = 0, size: int = 0) -> str:
    """Acquire a server (handle in s1) and call it; a0 is the result, the call_arg lies on the stack."""
    where = 0x38_0000_0000 - 256
    return (
        name_at(where, name)
        + call(97, where)
        + "mv s1, a0\n"
        + store(where + 64, argument, 0, address, size, 0, 0)
        + call(96, "mv a0, s1", where + 64)
    )


@dataclass
class ImageSpec:
    """An image to be: pages by address, and everything that a hostile host might want otherwise."""

    pages: dict[int, tuple[Pte, bytes]]
    entry: int = layout.TEXT_BASE
    stack_pages: int = 2
    entries: dict[int, int] = field(default_factory=dict)
    """Overrides: virtual address -> whole leaf PTE."""
    bits: dict[int, int] = field(default_factory=dict)
    """Overrides: virtual address -> bits of a leaf PTE that maps a good page."""


def program(text: str, assemble: Callable[[str], bytes] = assemble, **extra: object) -> ImageSpec:
    """An image of one page of code."""
    return ImageSpec({layout.TEXT_BASE: (RX, assemble(text))}, **extra)  # type: ignore[arg-type]


class RawHost:
    """A board, its monitor, and one host thread.  Memory below 4 MiB is for parameters and images."""

    def __init__(self, board: Board, chunks: int = 2, profile: Profile = NATIVE) -> None:
        self.board = board
        self.assemble: Callable[[str], bytes] = getattr(board.engine, "assemble", assemble)
        self.monitor = Monitor(board, profile)
        self.memory = board.host_memory()
        self.port = board.host_port()
        self._page = count(RAM_BASE + PAGE_SIZE, PAGE_SIZE)
        self._chunk = RAM_BASE + board.memory.size
        for _ in range(chunks):
            self.give_chunk()
        self.words = self.page()
        """Five words of mailbox at the start of this page."""

    def page(self) -> int:
        """Physical address of a fresh page of the host's."""
        return next(self._page)

    def rewind(self) -> None:
        """Begin again to hand out pages from the first one, zeroed: what is on them must not be in use."""
        used = next(self._page) - RAM_BASE
        self.memory.write(RAM_BASE, bytes(used))
        self._page = count(RAM_BASE + PAGE_SIZE, PAGE_SIZE)
        self.words = self.page()

    def rewind_to(self, page: int) -> None:
        """Hand out pages from behind this one again, zeroed: what is on them must not be in use."""
        first = page + PAGE_SIZE
        self.memory.write(first, bytes(next(self._page) - first))
        self._page = count(first, PAGE_SIZE)

    def give_chunk(self) -> int:
        self._chunk -= CHUNK_SIZE
        assert self.call(HostCall.MEMORY_EXTEND, self._chunk, CHUNK_SIZE) == (0, 0)
        return self._chunk

    def call(self, function: int, *arguments: int, port: HostPort | None = None) -> SbiResult:
        return (port or self.port).ecall(sbi.EXTENSION, function, *arguments)

    def stage(self, spec: ImageSpec) -> tuple[int, int]:
        """Lay an image out in the host's memory: (paddr, size)."""
        zero, root = self.page(), self.page()
        tables = {(): root}
        content: dict[int, int] = {}
        stack = range(layout.STACK_TOP - spec.stack_pages * PAGE_SIZE, layout.STACK_TOP, PAGE_SIZE)
        pages = {**dict.fromkeys(stack, (RW, b"")), **spec.pages}
        for va, (_, data) in pages.items():
            content[va] = self.page() if data else zero
            if data:
                self.memory.write(content[va], data.ljust(PAGE_SIZE, b"\0"))
        entries = spec.entries | {va: zero >> 12 << PTE_PPN_SHIFT | bits for va, bits in spec.bits.items()}
        for va in (*pages, *entries):
            for path in ((va >> 30 & 511,), (va >> 30 & 511, va >> 21 & 511)):
                if path not in tables:
                    tables[path] = self.page()
                    self.put(tables[path[:-1]], path[-1], tables[path] >> 12 << PTE_PPN_SHIFT | Pte.V)
        for va, (permissions, _) in pages.items():
            leaf = tables[va >> 30 & 511, va >> 21 & 511]
            self.put(leaf, va >> 12 & 511, content[va] >> 12 << PTE_PPN_SHIFT | permissions | Pte.U | Pte.V)
        for va, entry in entries.items():
            self.put(tables[va >> 30 & 511, va >> 21 & 511], va >> 12 & 511, entry)
        self.tables = tables
        return zero, next(self._page) - zero

    def put(self, table: int, slot: int, entry: int) -> None:
        self.memory.write(table + 8 * slot, entry.to_bytes(8, "little"))

    def param(self, paddr: int, size: int, **fields: object) -> int:
        """Physical address of a create_param; fields override."""
        page = self.page()
        values: dict[str, object] = {
            "eid_pa": page + 512,
            "name": b"raw",
            "paddr": paddr,
            "size": size,
            "entry": layout.TEXT_BASE,
            "kbuffer": self.page(),
            "kbuffer_size": PAGE_SIZE,
            **self.mailbox(),
            **fields,
        }
        self.kernel_buffer = values["kbuffer"]
        self.memory.write(page, bytes(CreateParam(**values)))
        return page

    def mailbox(self) -> dict[str, int]:
        """Fields of a parameter: where the monitor's five words go."""
        names = ("ocall_id_pa", "ocall_arg0_pa", "ocall_arg1_pa", "syscall_pa", "retval_pa")
        return {name: self.words + 8 * index for index, name in enumerate(names)}

    def create(self, spec: ImageSpec | str, **fields: object) -> SbiResult:
        """CREATE; the value is the eid."""
        image = program(spec, self.assemble) if isinstance(spec, str) else spec
        paddr, size = self.stage(image)
        return self.call(HostCall.CREATE, self.param(paddr, size, **{"entry": image.entry, **fields}))

    def make(self, spec: ImageSpec | str) -> int:
        """The eid of a new enclave, which must not be refused."""
        result = self.create(spec)
        assert result.error == 0, result
        return result.value

    def make_server(self, name: str, spec: ImageSpec | str, **fields: object) -> int:
        """The eid of a new server, which must not be refused; fields of its create_param override."""
        image = program(spec, self.assemble) if isinstance(spec, str) else spec
        paddr, size = self.stage(image)
        given = {"name": name.encode(), "type": EnclaveType.SERVER, "entry": image.entry, **fields}
        param = self.param(paddr, size, **given)
        result = self.call(HostCall.CREATE_SERVER, param)
        assert result.error == 0, result
        return result.value

    def make_shadow(self, spec: ImageSpec | str, name: str = "shadow") -> int:
        """The eid of a new shadow, which must not be refused."""
        image = replace(program(spec, self.assemble) if isinstance(spec, str) else spec, stack_pages=0)
        paddr, size = self.stage(image)
        param = self.param(paddr, size, name=name.encode(), type=EnclaveType.SHADOW, entry=image.entry)
        result = self.call(HostCall.CREATE_SHADOW, param)
        assert result.error == 0, result
        return result.value

    def shadow_run_param(self, **fields: object) -> int:
        """Physical address of a shadow_run_param; fields override."""
        self._eid_word = self.page()
        values: dict[str, object] = {
            "size": 2 * PAGE_SIZE,
            "eid_pa": self._eid_word,
            "kbuffer": self.page(),
            "kbuffer_size": PAGE_SIZE,
            **self.mailbox(),
            **fields,
        }
        page = self.page()
        self.memory.write(page, bytes(ShadowRunParam(**values)))
        return page

    def last_eid(self) -> int:
        """The eid of the latest instance."""
        return int.from_bytes(self.memory.read(self._eid_word, 4), "little")

    def instance(self, shadow: int, **fields: object) -> int:
        """Start an instance; its eid."""
        assert self.call(HostCall.RUN_SHADOW, shadow, self.shadow_run_param(**fields)) == (0, 1)
        return self.last_eid()

    def run_param(self) -> int:
        page = self.page()
        self.memory.write(page, bytes(PAGE_SIZE))
        return page

    def start(self, eid: int) -> None:
        assert self.call(HostCall.RUN, eid, self.run_param()) == (0, 1)

    def enter(self, eid: int, port: HostPort) -> SbiResult:
        return self.call(HostCall.RESUME, eid, ResumeReason.TIMER, port=port)

    def answer(
        self, eid: int, ocall: int = Ocall.WRITE, size: int = 0, port: HostPort | None = None
    ) -> SbiResult:
        return self.call(HostCall.RESUME, eid, ResumeReason.OCALL, ocall, 0, size, port=port)

    def value_of(self, port: HostPort, spec: ImageSpec | str) -> int:
        """Run a program to its end on the hart of port; what it returned.  The invariants hold."""
        eid = self.make(spec)
        self.start(eid)
        result = self.enter(eid, port)
        assert result == (0, RunValue.ENDED), result
        check(self.monitor)
        return self.word(4)

    def info(self, eid: int) -> EnclaveInfo:
        page = self.page()
        result = self.call(HostCall.INFO, eid, page, 0)
        assert result.error == 0, result
        return EnclaveInfo.from_buffer_copy(self.memory.read(page, ctypes.sizeof(EnclaveInfo)))

    def state(self, eid: int) -> State:
        return State(self.info(eid).state)

    def word(self, index: int) -> int:
        return int.from_bytes(self.memory.read(self.words + 8 * index, 8), "little")

    def snapshot(self) -> tuple[bytes, int, int]:
        """Owners of all pages, free pages, live enclaves; the invariants hold."""
        check(self.monitor)
        ownership = self.monitor.platform.ownership
        return ownership.snapshot().tobytes(), ownership.free_pages, len(self.monitor.enclaves())


ARGUMENT = layout.STACK_TOP - 512
"""Where the programs below keep a call_arg: on the stack."""


def answering(value: str, address: str = "x0", size: str = "x0") -> str:
    """A server's return.  value, address, size: registers (not t0, t1)."""
    return store(ARGUMENT, 0, value, 0, 0, address, size) + call(95, ARGUMENT)


def load_word(register: str, address: int) -> str:
    """Load the word at address."""
    return f"li t1, {address}\nld {register}, 0(t1)\n"


def lending(name: str, address: str, size: str) -> str:
    """Acquire a server and call it with pages.  address, size: registers (not t0, t1, a0 to a7, s1)."""
    where = layout.STACK_TOP - 256
    return (
        name_at(where, name)
        + call(97, where)
        + "mv s1, a0\n"
        + store(where + 64, 0, 0, address, size, 0, 0)
        + call(96, "mv a0, s1", where + 64)
    )
