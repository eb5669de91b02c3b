"""The host's side of ocalls: what an enclave asks for, and the answer."""

import queue
import struct
import threading
from collections.abc import Callable
from typing import NamedTuple, Protocol

from penglai.abi import sbi
from penglai.abi.ecall import IN_BUFFER, SECTOR_SIZE, TVM_SECTOR_SIZE, Ocall
from penglai.abi.errors import ErrorCode, NoMemoryError, PenglaiError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.abi.sbi import HostCall, ResumeReason, SbiResult
from penglai.driver.disk import Disk
from penglai.driver.pages import PageAllocator
from penglai.driver.task import Reason, Result, Task
from penglai.machine.board import HostPort
from penglai.machine.memory import HostMemory
from penglai.machine.ratelimit import limited_logger

log = limited_logger(__name__)

RESUME, ANSWERED, WRITE = HostCall.RESUME, ResumeReason.OCALL, Ocall.WRITE

WORD = (1 << 64) - 1

TWO_WORDS = struct.Struct("<QQ")
"""What the monitor tells of an ocall: its id and its argument."""


class Output(Protocol):
    """Where the text goes that enclaves write."""

    listener: Callable[[int, bytes], None] | None
    """If not None, called with eid and text, on one thread for all; the enclave waits for its return."""

    def write(self, eid: int, text: bytes) -> None:
        """Take text of an enclave, quickly: a hart waits."""

    def ended(self) -> None:
        """An enclave has ended: nothing more of it comes."""


class Text(NamedTuple):
    """What a task has written, for a listener."""

    task: Task
    listener: Callable[[int, bytes], None]
    text: bytes


class KernelBuffer:
    """That of a task; see Buffer."""

    def __init__(self, memory: HostMemory, address: int) -> None:
        self._memory = memory
        self._address = address

    def read(self) -> bytes:
        """A copy of all of it."""
        return self._memory.read(self._address, PAGE_SIZE)

    def write(self, data: bytes) -> None:
        """Put at most a page at its start."""
        self._memory.write(self._address, data[:PAGE_SIZE])


class OcallServer:
    """Serves ocalls.  port: for answers that come later.  wake: the task can go on."""

    def __init__(
        self,
        memory: HostMemory,
        port: HostPort,
        pages: PageAllocator,
        output: Output,
        disk: Disk,
        wake: Callable[[Task], None],
    ) -> None:
        self.disk = disk
        self.shown: Callable[[bytes], bytes] = bytes
        """Makes of a text what is shown of it."""
        self.sector_memory: memoryview | None = None
        """Shared memory at whose start sectors pass, for enclaves that count on Penglai-TVM's way; or
        None."""
        self._memory = memory
        self._port = port
        self._pages = pages
        self._output = output
        self._wake = wake
        self._writer_lock = threading.Lock()
        self._written: queue.SimpleQueue[Text | None] | None = None
        self._writer_ident: int | None = None

    @property
    def calls_back_here(self) -> bool:
        """True on the thread that calls the user's function, and answers when that is done."""
        return threading.get_ident() == self._writer_ident

    def give_memory(self, pages: int) -> None:
        """Give the monitor at least that many pages.  Raises NoMemoryError, having given nothing."""
        for chunk in self._pages.allocate_chunks(-(-pages * PAGE_SIZE // CHUNK_SIZE)):
            self._port.ecall(sbi.EXTENSION, HostCall.MEMORY_EXTEND, chunk, CHUNK_SIZE)

    def serve(self, port: HostPort, task: Task) -> SbiResult | None:
        """Serve the ocall of a task and enter it again; None if somebody will do that later."""
        ocall, argument = TWO_WORDS.unpack(self._memory.read(task.word(0), TWO_WORDS.size))
        if ocall == WRITE:
            return None if self._write(task) else self._answer(port, task, ocall, 0)
        if ocall == Ocall.RETURN_RELAY:
            with task.lock:
                if task.run is not None:
                    task.run.finish(Result(Reason.RELAY))
            return None
        if ocall == Ocall.ASK:
            return self._ask(port, task, argument)
        size = 0
        if ocall == Ocall.SBRK:
            size = self._memory_for(task, argument)
        elif ocall in (Ocall.READ_SECTOR, Ocall.WRITE_SECTOR):
            size = SECTOR_SIZE if self._move_sector(task, Ocall(ocall), argument) else 0
        return self._answer(port, task, ocall, size)

    def _answer(self, port: HostPort, task: Task, ocall: int, size: int) -> SbiResult:
        return port.ecall(sbi.EXTENSION, RESUME, task.eid, ANSWERED, ocall, 0, size)

    def ended(self, task: Task) -> None:
        """The enclave of a task is no more: tell who has served it."""
        if task.desk is not None:
            task.desk.ended()
        self._output.ended()

    def _ask(self, port: HostPort, task: Task, question: int) -> SbiResult | None:
        """Hand a question on.  One that nobody answers, or only an exception, has the answer 0."""
        if task.desk is None:
            return self._answer(port, task, Ocall.ASK, 0)
        argument = int.from_bytes(self._memory.read(task.word(2), 8), "little")
        task.in_callback = True
        try:
            answer = task.desk.answer(
                question,
                argument,
                KernelBuffer(self._memory, task.kernel_buffer),
                lambda answer: self._answer_later(task, Ocall.ASK, answer),
            )
        except Exception:
            log.exception("a question of %s has no answer", task.label)
            answer = 0
        if answer is None:
            return None
        task.in_callback = False
        return self._answer(port, task, Ocall.ASK, answer & WORD)

    def _memory_for(self, task: Task, size: int) -> int:
        try:
            self.give_memory(size // PAGE_SIZE)
        except NoMemoryError as error:
            log.warning("%s asks for %d bytes more: %s", task.label, size, error)
            return 0
        return size

    def _move_sector(self, task: Task, ocall: Ocall, sector: int) -> bool:
        in_buffer = int.from_bytes(self._memory.read(task.word(2), 8), "little") == IN_BUFFER
        if not in_buffer and self.sector_memory is None:
            return False
        try:
            if ocall is Ocall.WRITE_SECTOR:
                return self.disk.write(sector, self._take_sector(task, in_buffer=in_buffer))
            data = self.disk.read(sector, SECTOR_SIZE if in_buffer else TVM_SECTOR_SIZE)
        except PenglaiError as error:
            log.warning("%s: sector %d: %s", task.label, sector, error)
            return False
        if data is not None:
            self._put_sector(task, data, in_buffer=in_buffer)
        return data is not None

    def _take_sector(self, task: Task, *, in_buffer: bool) -> bytes:
        if in_buffer:
            return self._memory.read(task.kernel_buffer, SECTOR_SIZE)
        assert self.sector_memory is not None
        return bytes(self.sector_memory[:TVM_SECTOR_SIZE])

    def _put_sector(self, task: Task, data: bytes, *, in_buffer: bool) -> None:
        if in_buffer:
            self._memory.write(task.kernel_buffer, data)
        else:
            assert self.sector_memory is not None
            self.sector_memory[:TVM_SECTOR_SIZE] = data

    def _write(self, task: Task) -> bool:
        """Hand the text on; True if a listener has it now, which answers when it is done."""
        page = self._memory.read(task.kernel_buffer, PAGE_SIZE)
        end = page.find(0)
        text = self.shown(page if end < 0 else page[:end])
        self._output.write(task.eid, text)
        listener = self._output.listener
        if listener is None:
            return False
        task.in_callback = True
        if self._to_writer(Text(task, listener, text)):
            return True
        _tell(listener, task, text)
        task.in_callback = False
        return False

    def _to_writer(self, text: Text) -> bool:
        """Hand a text to the thread that calls the user's function; False if the system gives no thread."""
        with self._writer_lock:
            if self._written is None:
                written: queue.SimpleQueue[Text | None] = queue.SimpleQueue()
                writer = threading.Thread(
                    target=self._hand_on, args=(written,), name="penglai-output", daemon=True
                )
                try:
                    writer.start()
                except RuntimeError:
                    return False
                self._written, self._writer_ident = written, writer.ident
            self._written.put(text)
        return True

    def close(self) -> None:
        """Nothing more is handed on."""
        with self._writer_lock:
            if self._written is not None:
                self._written.put(None)

    def _hand_on(self, written: "queue.SimpleQueue[Text | None]") -> None:
        """Call the user's function with one text after the other.  On a thread of its own."""
        while (text := written.get()) is not None:
            self._call_back(*text)

    def _call_back(self, task: Task, listener: Callable[[int, bytes], None], text: bytes) -> None:
        """Hand text to the user's function, then answer the ocall."""
        _tell(listener, task, text)
        self._answer_later(task, Ocall.WRITE, 0)

    def _answer_later(self, task: Task, ocall: Ocall, answer: int) -> None:
        """Answer an ocall on a thread that is no hart's."""
        try:
            self._answer(self._port, task, ocall, answer & WORD)
        except PenglaiError:
            return  # the machine was switched off meanwhile, or has failed
        task.in_callback = False
        self._wake(task)


def _tell(listener: Callable[[int, bytes], None], task: Task, text: bytes) -> None:
    try:
        listener(task.eid, text)
    except Exception:
        log.exception("on_output raised for %s", task.label)


def code_name(code: int) -> str:
    """The name of a negative result in words."""
    try:
        return ErrorCode(code).name.replace("_", " ").lower()
    except ValueError:
        return f"error {code}"
