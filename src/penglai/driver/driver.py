"""The host kernel's driver: what penglai.ko does, for the embedded host.

It is not trusted.  It has a HostMemory and HostPorts, makes SBI calls, and serves what they bring back.
Its calls may come from any number of threads; what is legal when, the monitor decides.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from typing import NoReturn, Protocol

from penglai.abi import sbi
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode, MachineError, NoMemoryError, PenglaiError, error_class
from penglai.abi.layout import NAME_BYTES
from penglai.abi.riscv import CHUNK_SIZE, NS_PER_TICK, PAGE_SIZE, SBI_TIME
from penglai.abi.sbi import CreateParam, EnclaveInfo, HostCall, ResumeReason, RunValue, SbiResult
from penglai.abi.state import State
from penglai.driver.image import Template
from penglai.driver.pages import PageAllocator
from penglai.driver.scheduler import Scheduler
from penglai.driver.shield import Shield
from penglai.driver.task import Fault, Info, Reason, Result, Run, Task
from penglai.machine.board import HostPort
from penglai.machine.memory import HostMemory

log = logging.getLogger(__name__)

TICK_NS = 10_000_000
"""A runnable enclave has a hart for at most this long, ns, before the next one gets it."""

CHUNK_PAGES = CHUNK_SIZE // PAGE_SIZE

REMEDIES = {
    HostCall.RUN: "an enclave runs once; create another one",
    HostCall.STOP: "start it first",
    HostCall.RESUME: "only a stopped enclave can be resumed",
}


class Output(Protocol):
    """Where the text goes that enclaves write."""

    listener: Callable[[int, bytes], None] | None
    """If not None, called with eid and text, on a thread of its own; the enclave waits for its return."""

    def write(self, eid: int, text: bytes) -> None:
        """Take text of an enclave, quickly: a hart waits."""


class Driver:
    """The driver of one machine."""

    def __init__(self, memory: HostMemory, port: HostPort, output: Output) -> None:
        self._memory = memory
        self._port = port
        self._output = output
        self._pages = PageAllocator(memory.base, memory.size)
        self._tasks_lock = threading.Lock()
        self._tasks: set[Task] = set()
        self._scheduler = Scheduler(self._step, self._release_if_over, self._fail)
        self._failure: Exception | None = None
        self.hart_main = self._scheduler.hart_main

    @property
    def memory_pages(self) -> int:
        """Pages of the whole machine."""
        return self._memory.size // PAGE_SIZE

    @property
    def free_bytes(self) -> int:
        """Bytes of the host's memory that are not in use."""
        return self._pages.free_bytes

    def close(self, harts: int) -> None:
        """Destroy every enclave and send the harts home."""
        self._failure = MachineError("it is switched off")
        with self._tasks_lock:
            tasks = list(self._tasks)
        for task in tasks:
            self.destroy_if_alive(task)
        self._scheduler.stop(harts)

    # ---- system calls --------------------------------------------------------------------------

    def create(self, template: Template, name: str, on_end: Callable[[Task], None]) -> Task:
        """Make an enclave.  on_end: called once when it has ended.

        Raises NoMemoryError, and whatever the monitor refuses for.
        """
        with Shield():
            self._check_failure()
            pages = self._pages.allocate(2 * PAGE_SIZE)
            task = Task(name, page=pages, kernel_buffer=pages + PAGE_SIZE, on_end=on_end)
            try:
                self._memory.write(pages, bytes(PAGE_SIZE))
                with self._pages.borrow(template.size) as region:
                    self._memory.write(region, template.head(region))
                    self._memory.write(region + template.head_size, template.content)
                    task.eid = self._create(task, template, region)
            except BaseException:
                self._pages.free(pages, 2 * PAGE_SIZE)
                raise
            with self._tasks_lock:
                self._tasks.add(task)
            self._call(HostCall.INFO, task, 0, task.final_info)
            return task

    def run(self, task: Task) -> Run:
        """Start an enclave.  Raises StateError, NoSuchEnclaveError."""
        with Shield():
            self._check_failure()
            run = Run(task.label)
            with task.lock:  # a destroy that comes right behind finds the run and ends it
                result = self._ecall(HostCall.RUN, task.eid, task.run_param)
                if not result.error:
                    task.run = run
            if result.error:
                self._refused(HostCall.RUN, task, result)
            self._scheduler.wake(task)
            return run

    def stop(self, task: Task) -> None:
        """Stop an enclave: on return it executes nothing.  Raises StateError, NoSuchEnclaveError."""
        with Shield():
            self._call(HostCall.STOP, task)

    def resume(self, task: Task) -> None:
        """Let a stopped enclave go on.  Raises StateError, NoSuchEnclaveError."""
        with Shield():
            self._call(HostCall.RESUME, task, ResumeReason.STOP)
            self._scheduler.wake(task)

    def destroy(self, task: Task) -> None:
        """Destroy an enclave; its memory is back on return.  Raises NoSuchEnclaveError."""
        with Shield():
            self._call(HostCall.DESTROY, task)
            self._end(task, Result(Reason.DESTROYED))
            self._release_if_over(task)

    def destroy_if_alive(self, task: Task) -> None:
        """Destroy an enclave unless it has ended already, or the machine has failed."""
        with Shield():
            try:
                destroyed = self._ecall(HostCall.DESTROY, task.eid).error == ErrorCode.OK
            except PenglaiError as error:
                self._fail(error)
                return
            if destroyed:
                self._end(task, Result(Reason.DESTROYED))
            self._release_if_over(task)

    def info(self, task: Task) -> Info:
        """What the monitor tells of an enclave; of an ended one, what it told last."""
        with Shield(), task.lock:
            if not task.released:
                alive = self._ecall(HostCall.INFO, task.eid, task.info, 0).error == ErrorCode.OK
                task.last_info = self._read_info(task.info if alive else task.final_info)
            assert task.last_info is not None
            return task.last_info

    # ---- towards the monitor -------------------------------------------------------------------

    def _ecall(self, function: HostCall, *arguments: int) -> SbiResult:
        return self._port.ecall(sbi.EXTENSION, function, *arguments)

    def _call(self, function: HostCall, task: Task, *arguments: int) -> None:
        """An SBI call on an enclave; a refusal becomes an exception."""
        result = self._ecall(function, task.eid, *arguments)
        if result.error:
            self._refused(function, task, result)

    def _refused(self, function: HostCall, task: Task, result: SbiResult) -> NoReturn:
        verb = function.name.lower().replace("_", " ")
        if result.error == ErrorCode.NO_SUCH_ENCLAVE:
            why = f"it is {self.info(task).state}, and its id no longer exists"
        elif result.error == ErrorCode.GENERIC:
            why = f"it is {self.info(task).state}; {REMEDIES[function]}"
        else:
            why = f"the monitor refuses ({_code_name(result.error)})"
        raise error_class(result.error)(f"cannot {verb} {task.label}: {why}")

    def _create(self, task: Task, template: Template, region: int) -> int:
        param = CreateParam(
            eid_pa=task.eid_word,
            name=task.name.encode()[: NAME_BYTES - 1],
            type=sbi.EnclaveType.NORMAL,
            paddr=region,
            size=template.size,
            entry=template.entry,
            kbuffer=task.kernel_buffer,
            kbuffer_size=PAGE_SIZE,
            ocall_id_pa=task.word(0),
            ocall_arg0_pa=task.word(1),
            ocall_arg1_pa=task.word(2),
            syscall_pa=task.word(3),
            retval_pa=task.word(4),
        )
        self._memory.write(task.create_param, bytes(param))
        while True:
            result = self._ecall(HostCall.CREATE, task.create_param)
            if result.error == ErrorCode.OK:
                return int.from_bytes(self._memory.read(task.eid_word, 4), "little")
            if result.error != ErrorCode.NO_MEMORY:
                raise error_class(result.error)(
                    f"cannot create an enclave from {task.name or 'the image'}: "
                    f"the monitor refuses ({_code_name(result.error)})"
                )
            self._give_memory(result.value)

    def _give_memory(self, pages: int) -> None:
        """Give the monitor at least that many pages.  Raises NoMemoryError, having given nothing."""
        for chunk in self._pages.allocate_chunks(-(-pages // CHUNK_PAGES)):
            self._ecall(HostCall.MEMORY_EXTEND, chunk, CHUNK_SIZE)

    def _read_info(self, pa: int) -> Info:
        raw = EnclaveInfo.from_buffer_copy(self._memory.read(pa, ctypes.sizeof(EnclaveInfo)))
        return Info(
            state=State(raw.state),
            measurement=bytes(raw.measurement),
            pages=raw.pages,
            run_time=raw.run_ns,
            stops=raw.stops,
            preemptions=raw.preemptions,
            entry=raw.entry,
        )

    def _read_word(self, task: Task, index: int) -> int:
        return int.from_bytes(self._memory.read(task.word(index), 8), "little")

    # ---- on a hart -----------------------------------------------------------------------------

    def _step(self, port: HostPort, task: Task) -> bool:
        """Enter an enclave until its time is up or it cannot go on; True if it could."""
        port.ecall(SBI_TIME, 0, port.time() + TICK_NS // NS_PER_TICK)
        result = port.ecall(sbi.EXTENSION, HostCall.RESUME, task.eid, ResumeReason.TIMER)
        while True:
            if result.error == ErrorCode.NO_SUCH_ENCLAVE:
                self._end(task, Result(Reason.DESTROYED))
            if result.error:
                return False  # stopped, or its ocall is being served: somebody will wake it
            if result.value == RunValue.OCALL:
                served = self._serve(port, task)
                if served is None:
                    return False
                result = served
                continue
            if result.value in (RunValue.TIMER, RunValue.YIELD):
                return True
            if result.value == RunValue.FAULTED:
                fault = Fault(self._read_word(task, 1), self._read_word(task, 2))
                self._end(task, Result(Reason.FAULTED, fault=fault))
            else:
                self._end(task, Result(Reason.EXITED, self._read_word(task, 4)))
            return False

    def _serve(self, port: HostPort, task: Task) -> SbiResult | None:
        """Serve the ocall and enter the enclave again; None if a callback does it later."""
        ocall, argument = self._read_word(task, 0), self._read_word(task, 1)
        size = 0
        if ocall == Ocall.WRITE:
            text = self._memory.read(task.kernel_buffer, PAGE_SIZE).partition(b"\0")[0]
            self._output.write(task.eid, text)
            listener = self._output.listener
            if listener is not None:
                task.in_callback = True
                threading.Thread(
                    target=self._call_back, args=(task, listener, text), name="penglai-output", daemon=True
                ).start()
                return None
        elif ocall == Ocall.SBRK:
            try:
                self._give_memory(argument // PAGE_SIZE)
                size = argument
            except NoMemoryError as error:
                log.warning("%s asks for %d bytes more: %s", task.label, argument, error)
        return port.ecall(sbi.EXTENSION, HostCall.RESUME, task.eid, ResumeReason.OCALL, ocall, 0, size)

    def _call_back(self, task: Task, listener: Callable[[int, bytes], None], text: bytes) -> None:
        """Hand text to the user's function, then answer the ocall.  On a thread of its own."""
        try:
            listener(task.eid, text)
        except Exception:
            log.exception("on_output raised for %s", task.label)
        try:
            self._ecall(HostCall.RESUME, task.eid, ResumeReason.OCALL, Ocall.WRITE, 0, 0)
        except PenglaiError:
            return  # the machine was switched off meanwhile, or has failed
        task.in_callback = False
        self._scheduler.wake(task)

    # ---- the end -------------------------------------------------------------------------------

    def _end(self, task: Task, result: Result) -> None:
        """The monitor knows the enclave no more: tell who waits.  Only the first result counts."""
        with task.lock:
            if task.ended:
                return
            task.ended = True
            task.last_info = self._read_info(task.final_info)
            run = task.run
        with self._tasks_lock:
            self._tasks.discard(task)
        task.on_end(task)
        if run is not None:
            run.finish(result)

    def _release_if_over(self, task: Task) -> None:
        """Give the pages of an ended task back, once neither a hart nor a callback has to do with it."""
        with task.lock:
            if not task.ended or task.released or task.in_callback or not self._scheduler.is_parked(task):
                return
            task.released = True
        self._pages.free(task.page, 2 * PAGE_SIZE)

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise MachineError(f"the machine is out of use: {self._failure}") from self._failure

    def _fail(self, error: Exception) -> None:
        """A hart failed: every run ends with the error, every later create and run raises it."""
        self._failure = error
        with self._tasks_lock:
            tasks = list(self._tasks)
        for task in tasks:
            if task.run is not None:
                task.run.finish(error)


def _code_name(code: int) -> str:
    try:
        return ErrorCode(code).name.replace("_", " ").lower()
    except ValueError:
        return f"error {code}"
