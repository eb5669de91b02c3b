"""The host kernel's driver: what penglai.ko does, for the embedded host.

It is not trusted.  It has a HostMemory and HostPorts, makes SBI calls, and serves what they bring back.
Its calls may come from any number of threads; what is legal when, the monitor decides.
"""

import ctypes
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NoReturn

from penglai.abi import sbi
from penglai.abi.ecall import Ocall
from penglai.abi.errors import ErrorCode, ExistsError, MachineError, PenglaiError, error_class
from penglai.abi.report import REPORT_BYTES
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import EnclaveInfo, EnclaveType, HostCall, ResumeReason, RunParam, RunValue, SbiResult
from penglai.driver.disk import Disk
from penglai.driver.fault import Fault
from penglai.driver.image import PagedImage
from penglai.driver.limits import Limits
from penglai.driver.ocalls import OcallServer, Output, code_name
from penglai.driver.pages import PageAllocator
from penglai.driver.params import create_param, shadow_run_param
from penglai.driver.refusals import explained
from penglai.driver.shared import RelayPages, SharedMemories, SharedMemory
from penglai.driver.shield import Shield
from penglai.driver.task import Desk, Info, Reason, Result, Task, TaskRun
from penglai.machine.board import HostPort
from penglai.machine.memory import HostMemory
from penglai.scheduler import TURN_IS_OVER, Scheduler, enter

log = logging.getLogger(__name__)

ASKS = RunValue.OCALL

CREATE = {
    EnclaveType.NORMAL: HostCall.CREATE,
    EnclaveType.SERVER: HostCall.CREATE_SERVER,
    EnclaveType.SHADOW: HostCall.CREATE_SHADOW,
}
DESTROY = {
    EnclaveType.NORMAL: HostCall.DESTROY,
    EnclaveType.SERVER: HostCall.DESTROY_SERVER,
    EnclaveType.SHADOW: HostCall.DESTROY_SHADOW,
}


@dataclass(frozen=True)
class Order:
    """What a program wants made.  on_end: called once when it has ended.  The rest: see Task."""

    name: str
    kind: EnclaveType
    stack_size: int
    on_end: Callable[[Task], None]
    make_run: Callable[[Task], TaskRun] = TaskRun
    shm: SharedMemory | None = None
    shm_place: tuple[int, int] = (0, 0)


class Driver:
    """The driver of one machine.  settled: for whoever waits until an enclave is on no hart."""

    def __init__(self, memory: HostMemory, port: HostPort, output: Output, disk: Disk) -> None:
        self._memory = memory
        self._port = port
        self._output = output
        self._pages = PageAllocator(memory.base, memory.size, self._reclaim)
        self.memories = SharedMemories(memory, self._pages)
        self._tasks_lock = threading.Lock()
        self._tasks: set[Task] = set()
        self._orphans: set[Task] = set()
        self._scheduler = Scheduler(self._step, self._parked, self._fail)
        self.settled = threading.Condition()
        self.ocalls = OcallServer(memory, port, self._pages, output, disk, self._scheduler.wake)
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

    def set_limits(self, limits: Limits) -> None:
        """Limit what the enclaves that are made from now on can make grow in the monitor."""
        for kind, value in limits.of_the_monitor().items():
            self._ecall(HostCall.LIMIT, 0, kind, value)

    def close(self, harts: int) -> None:
        """Destroy every enclave and send the harts home."""
        self._failure = MachineError("it is switched off")
        with self._tasks_lock:
            tasks = list(self._tasks)
        for task in tasks:
            self.destroy_if_alive(task)
        self._scheduler.stop(harts)
        self.ocalls.close()

    # ---- system calls --------------------------------------------------------------------------

    def create(self, paged: PagedImage, order: Order) -> Task:
        """Make an enclave.  Raises NoMemoryError, ExistsError, and whatever the monitor refuses for."""
        with Shield():
            self._check_failure()
            task = self._new_task(order)
            try:
                with self._pages.borrow(paged.size) as region:
                    self._memory.write(region, paged.head(region))
                    self._memory.write(region + paged.head_size, paged.content)
                    task.eid = self._make(task, CREATE[task.kind], create_param(task, paged, region))
            except BaseException:
                self._free(task)
                raise
            self._begin(task)
            return task

    def instantiate(self, shadow: Task, relay: RelayPages | None = None, desk: Desk | None = None) -> Task:
        """Make an instance of a shadow; `launch` lets it run.  Raises StateError, NoMemoryError."""
        with Shield():
            self._check_failure()
            order = Order(shadow.name, EnclaveType.NORMAL, shadow.stack_size, shadow.on_end, shadow.make_run)
            order = replace(order, shm=shadow.shm, shm_place=shadow.shm_place)
            task = self._new_task(order)
            try:
                param = shadow_run_param(task, relay)
                task.eid = self._make(shadow, HostCall.RUN_SHADOW, param, task)
            except BaseException:
                self._free(task)
                raise
            task.run = task.make_run(task)
            task.desk = desk
            self._begin(task)
            return task

    def launch(self, task: Task) -> None:
        """Give a new instance its first turn."""
        self._scheduler.wake(task)

    def run(self, task: Task, relay: RelayPages | None = None, desk: Desk | None = None) -> TaskRun:
        """Start an enclave.  Raises StateError, NoSuchEnclaveError, SecurityError for the relay pages."""
        return self._start("run", task, lambda: self._enter_first(task, relay, desk))

    def go_on(self, task: Task, relay: RelayPages | None = None) -> TaskRun:
        """Let an enclave go on that waits for relay pages.  Raises as `run` does."""
        pa, size = (relay.pa, len(relay)) if relay is not None else (0, 0)
        arguments = (ResumeReason.OCALL, Ocall.RETURN_RELAY, pa, size)
        return self._start("continue", task, lambda: self._ecall(HostCall.RESUME, task.eid, *arguments))

    def attest(self, task: Task, nonce: int) -> bytes:
        """The report of an enclave, 328 bytes.  Raises StateError, NoSuchEnclaveError."""
        with Shield(), task.lock:
            result = SbiResult(ErrorCode.NO_SUCH_ENCLAVE, 0)
            if not task.released:
                result = self._ecall(HostCall.ATTEST, task.eid, task.report, nonce)
            report = self._memory.read(task.report, REPORT_BYTES)
        if result.error:
            self._refused("attest", task, result)
        return report

    def stop(self, task: Task) -> None:
        """Stop an enclave: on return it executes nothing.  Raises StateError, NoSuchEnclaveError."""
        with Shield():
            self._call("stop", task, HostCall.STOP)

    def resume(self, task: Task) -> None:
        """Let a stopped enclave go on.  Raises StateError, NoSuchEnclaveError."""
        with Shield():
            self._call("resume", task, HostCall.RESUME, ResumeReason.STOP)
            self._scheduler.wake(task)
            self.tell_settled()

    def destroy(self, task: Task) -> None:
        """Destroy an enclave; its memory is back on return.

        Raises NoSuchEnclaveError, StateError for a server that is being called.
        """
        with Shield():
            self._call("destroy", task, DESTROY[task.kind])
            self._end(task, Result(Reason.DESTROYED))
            self._release_if_over(task)

    def destroy_if_alive(self, task: Task) -> None:
        """Destroy an enclave unless it has ended already, or the machine has failed.

        A server that is being called is destroyed later, at the first chance after the call.
        """
        with Shield():
            try:
                error = self._ecall(DESTROY[task.kind], task.eid).error
            except PenglaiError as failure:
                self._fail(failure)
                return
            if error == ErrorCode.GENERIC:
                with self._tasks_lock:
                    self._orphans.add(task)
                return
            if not error:
                self._end(task, Result(Reason.DESTROYED))
            self._release_if_over(task)

    def _bury_orphans(self) -> None:
        """Servers of processes that are gone were being called then: now perhaps they are not."""
        if not self._orphans:
            return
        with self._tasks_lock:
            orphans, self._orphans = self._orphans, set()
        for orphan in orphans:
            self.destroy_if_alive(orphan)

    def info(self, task: Task) -> Info:
        """What the monitor tells of an enclave; of an ended one, what it told last."""
        with Shield(), task.lock:
            if not task.released:
                alive = self._ecall(HostCall.INFO, task.eid, task.info, 0).error == ErrorCode.OK
                task.last_info = self._read_info(task.info if alive else task.final_info)
            return Info.from_bytes(task.last_info)

    # ---- towards the monitor -------------------------------------------------------------------

    def _ecall(self, function: HostCall, *arguments: int) -> SbiResult:
        return self._port.ecall(sbi.EXTENSION, function, *arguments)

    def _call(self, verb: str, task: Task, function: HostCall, *arguments: int) -> None:
        """An SBI call on an enclave; a refusal becomes an exception."""
        result = self._ecall(function, task.eid, *arguments)
        if result.error:
            self._refused(verb, task, result)

    def _refused(self, verb: str, task: Task, result: SbiResult) -> NoReturn:
        state = self.info(task).state if task.eid else None
        raise explained(verb, task, result, state)

    def _start(self, verb: str, task: Task, call: Callable[[], SbiResult]) -> TaskRun:
        """Make the call after which an enclave runs, with a TaskRun for its end."""
        with Shield():
            self._check_failure()
            run = task.make_run(task)
            while True:
                with task.lock:  # an end that comes right behind finds the run
                    result = SbiResult(ErrorCode.NO_SUCH_ENCLAVE, 0) if task.released else call()
                    if not result.error:
                        task.run = run
                        break
                if result.error != ErrorCode.NO_MEMORY:
                    self._refused(verb, task, result)
                self.ocalls.give_memory(result.value)
            self._scheduler.wake(task)
            return run

    def _enter_first(self, task: Task, relay: RelayPages | None, desk: Desk | None) -> SbiResult:
        param = RunParam(relay.pa, len(relay)) if relay is not None else RunParam()
        self._memory.write(task.run_param, bytes(param))
        if not (result := self._ecall(HostCall.RUN, task.eid, task.run_param)).error:
            task.desk = desk
        return result

    def _make(self, what: Task, function: HostCall, param: bytes, made: Task | None = None) -> int:
        """Create, or run an instance, giving memory as it is needed; the new eid."""
        task = made or what
        self._memory.write(task.create_param, param)
        arguments = (task.create_param,) if made is None else (what.eid, task.create_param)
        while True:
            result = self._ecall(function, *arguments)
            if result.error == ErrorCode.OK:
                return int.from_bytes(self._memory.read(task.eid_word, 4), "little")
            if result.error == ErrorCode.NO_MEMORY:
                self.ocalls.give_memory(result.value)
            elif made is not None:
                self._refused("run", what, result)
            elif function is HostCall.RESTORE:
                self._refused("restore", task, result)
            elif result.error == ErrorCode.EXISTS:
                raise ExistsError(f"there is a server {task.name!r} already; destroy it, or choose a name")
            else:
                raise error_class(result.error)(
                    f"cannot create an enclave from {task.name or 'the image'}: "
                    f"the monitor refuses ({code_name(result.error)})"
                )

    def _new_task(self, order: Order) -> Task:
        self._bury_orphans()
        pages = self._pages.allocate(2 * PAGE_SIZE)
        self._memory.write(pages, bytes(PAGE_SIZE))
        task = Task(page=pages, kernel_buffer=pages + PAGE_SIZE, **vars(order))
        if task.shm is not None:
            self.memories.attach(task.shm)
        return task

    def _begin(self, task: Task) -> None:
        """The enclave exists: the driver answers for it until its end."""
        with self._tasks_lock:
            self._tasks.add(task)
        self._ecall(HostCall.INFO, task.eid, 0, task.final_info)

    def _free(self, task: Task) -> None:
        """Give back what the driver has for a task."""
        self._pages.free(task.page, 2 * PAGE_SIZE)
        if task.shm is not None:
            self.memories.detach(task.shm)

    def _reclaim(self) -> int | None:
        """A chunk that the monitor has no use for, or None."""
        return self._ecall(HostCall.MEMORY_RECLAIM).value or None

    def _read_info(self, pa: int) -> bytes:
        return self._memory.read(pa, ctypes.sizeof(EnclaveInfo))

    def _read_word(self, task: Task, index: int) -> int:
        return int.from_bytes(self._memory.read(task.word(index), 8), "little")

    # ---- on a hart -----------------------------------------------------------------------------

    def _step(self, port: HostPort, task: Task) -> bool:
        """Enter an enclave until its time is up or it cannot go on; True if it could."""
        result = enter(port, task.eid)
        while True:
            if result.error:
                if result.error == ErrorCode.NO_SUCH_ENCLAVE:
                    self._end(task, Result(Reason.DESTROYED))
                return False  # stopped, or its ocall is being served: somebody will wake it
            if result.value == ASKS:
                served = self.ocalls.serve(port, task)
                if served is None:
                    return False
                result = served
                continue
            if result.value in TURN_IS_OVER:
                return True
            if result.value == RunValue.FAULTED:
                fault = Fault(self._read_word(task, 1), self._read_word(task, 2))
                self._end(task, Result(Reason.FAULTED, fault=fault))
            else:
                self._end(task, Result(Reason.EXITED, self._read_word(task, 4)))
            return False

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
        self.ocalls.ended(task)
        if run is not None:
            run.finish(result)
        self._bury_orphans()

    def _parked(self, task: Task) -> None:
        self._release_if_over(task)
        self.tell_settled()

    def tell_settled(self) -> None:
        """What `settled` is waited for may be so now."""
        with self.settled:
            self.settled.notify_all()

    def _release_if_over(self, task: Task) -> None:
        """Give the pages of an ended task back, once neither a hart nor a callback has to do with it."""
        with task.lock:
            if not task.ended or task.released or task.in_callback or not self._scheduler.is_parked(task):
                return
            task.released = True
        self._free(task)

    def _check_failure(self) -> None:
        if self._failure is not None:
            raise MachineError(f"the machine is out of use: {self._failure}") from self._failure

    def _fail(self, error: Exception) -> None:
        """A hart failed: every run ends with the error, every later create and run raises it."""
        self._failure = error
        self.tell_settled()
        with self._tasks_lock:
            tasks = list(self._tasks)
        for task in tasks:
            if task.run is not None:
                task.run.finish(error)
