"""The host kernel's scheduler: runnable tasks in a queue, harts that take turns with them.

First in, first out: every runnable enclave gets a hart in its turn, so a never-ending one keeps no other
from running.  A task is in exactly one place (Turn): parked, in the queue once, or on one hart.
"""

import logging
import queue
import threading
from collections.abc import Callable

from penglai.driver.task import Task, Turn
from penglai.machine.board import HostPort

log = logging.getLogger(__name__)


class Scheduler:
    """step: runs a task for a while on the hart of a port; True if it wants another turn.

    parked: called, on the hart's thread, after a task was parked.  failed: called when a step raised; the
    hart does nothing more.
    """

    def __init__(
        self,
        step: Callable[[HostPort, Task], bool],
        parked: Callable[[Task], None],
        failed: Callable[[Exception], None],
    ) -> None:
        self._step = step
        self._parked = parked
        self._failed = failed
        self._lock = threading.Lock()
        self._queue: queue.SimpleQueue[Task | None] = queue.SimpleQueue()

    def wake(self, task: Task) -> None:
        """There may be something to do for the task: it gets a turn."""
        with self._lock:
            if task.turn is Turn.PARKED:
                task.turn = Turn.QUEUED
                self._queue.put(task)
            elif task.turn is Turn.ON_HART:
                task.woken = True  # its hart may have decided to park it already

    def is_parked(self, task: Task) -> bool:
        """True if the task is on no hart and not on its way to one."""
        return task.turn is Turn.PARKED

    def hart_main(self, port: HostPort) -> None:
        """What a hart does in the host, until `stop`."""
        try:
            while (task := self._queue.get()) is not None:
                self._turn(port, task)
        except Exception as error:
            log.critical("a hart of the host fails: %r", error, exc_info=True)
            self._failed(error)

    def stop(self, harts: int) -> None:
        """Tell the harts to return from hart_main, after the tasks before this in the queue."""
        for _ in range(harts):
            self._queue.put(None)

    def _turn(self, port: HostPort, task: Task) -> None:
        with self._lock:
            task.turn = Turn.ON_HART
            task.woken = False
        again = self._step(port, task)
        with self._lock:
            again = again or task.woken
            task.turn = Turn.QUEUED if again else Turn.PARKED
            if again:
                self._queue.put(task)
        if not again:
            self._parked(task)
