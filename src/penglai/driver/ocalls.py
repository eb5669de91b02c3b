"""The host's side of ocalls: what an enclave asks for, and the answer."""

import logging
import struct
import threading
from collections.abc import Callable
from typing import Protocol

from penglai.abi import sbi
from penglai.abi.ecall import SECTOR_SIZE, Ocall
from penglai.abi.errors import ErrorCode, NoMemoryError, PenglaiError
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE
from penglai.abi.sbi import HostCall, ResumeReason, SbiResult
from penglai.driver.disk import Disk
from penglai.driver.pages import PageAllocator
from penglai.driver.task import Reason, Result, Task
from penglai.machine.board import HostPort
from penglai.machine.memory import HostMemory

log = logging.getLogger(__name__)

RESUME, ANSWERED, WRITE = HostCall.RESUME, ResumeReason.OCALL, Ocall.WRITE

TWO_WORDS = struct.Struct("<QQ")
"""What the monitor tells of an ocall: its id and its argument."""


class Output(Protocol):
    """Where the text goes that enclaves write."""

    listener: Callable[[int, bytes], None] | None
    """If not None, called with eid and text, on a thread of its own; the enclave waits for its return."""

    def write(self, eid: int, text: bytes) -> None:
        """Take text of an enclave, quickly: a hart waits."""


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
        self._memory = memory
        self._port = port
        self._pages = pages
        self._output = output
        self._wake = wake

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
        size = 0
        if ocall == Ocall.SBRK:
            size = self._memory_for(task, argument)
        elif ocall in (Ocall.READ_SECTOR, Ocall.WRITE_SECTOR):
            size = SECTOR_SIZE if self._move_sector(task, Ocall(ocall), argument) else 0
        return self._answer(port, task, ocall, size)

    def _answer(self, port: HostPort, task: Task, ocall: int, size: int) -> SbiResult:
        return port.ecall(sbi.EXTENSION, RESUME, task.eid, ANSWERED, ocall, 0, size)

    def _memory_for(self, task: Task, size: int) -> int:
        try:
            self.give_memory(size // PAGE_SIZE)
        except NoMemoryError as error:
            log.warning("%s asks for %d bytes more: %s", task.label, size, error)
            return 0
        return size

    def _move_sector(self, task: Task, ocall: Ocall, sector: int) -> bool:
        try:
            if ocall is Ocall.WRITE_SECTOR:
                return self.disk.write(sector, self._memory.read(task.kernel_buffer, SECTOR_SIZE))
            data = self.disk.read(sector)
        except PenglaiError as error:
            log.warning("%s: sector %d: %s", task.label, sector, error)
            return False
        if data is not None:
            self._memory.write(task.kernel_buffer, data)
        return data is not None

    def _write(self, task: Task) -> bool:
        """Hand the text on; True if a listener has it now, which answers when it is done."""
        text = self._memory.read(task.kernel_buffer, PAGE_SIZE).partition(b"\0")[0]
        self._output.write(task.eid, text)
        listener = self._output.listener
        if listener is None:
            return False
        task.in_callback = True
        threading.Thread(
            target=self._call_back, args=(task, listener, text), name="penglai-output", daemon=True
        ).start()
        return True

    def _call_back(self, task: Task, listener: Callable[[int, bytes], None], text: bytes) -> None:
        """Hand text to the user's function, then answer the ocall.  On a thread of its own."""
        try:
            listener(task.eid, text)
        except Exception:
            log.exception("on_output raised for %s", task.label)
        try:
            self._answer(self._port, task, Ocall.WRITE, 0)
        except PenglaiError:
            return  # the machine was switched off meanwhile, or has failed
        task.in_callback = False
        self._wake(task)


def code_name(code: int) -> str:
    """The name of a negative result in words."""
    try:
        return ErrorCode(code).name.replace("_", " ").lower()
    except ValueError:
        return f"error {code}"
