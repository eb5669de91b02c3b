"""The driver's part of snapshots: their pieces, out of the monitor and into it (docs/abi.md, section 6)."""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from penglai.abi.ecall import Ocall
from penglai.abi.errors import SnapshotError, StateError
from penglai.abi.riscv import PAGE_SIZE
from penglai.abi.sbi import HostCall
from penglai.abi.snapshot import BUFFER_BYTES, MAX_PIECE, PieceHead, SnapshotHead, Why
from penglai.abi.state import State
from penglai.driver.driver import Driver, Order
from penglai.driver.params import restore_param
from penglai.driver.refusals import WHY
from penglai.driver.shield import Shield
from penglai.driver.task import Desk, Reason, Result, Task

HEAD = ctypes.sizeof(SnapshotHead)
PIECE_HEAD = ctypes.sizeof(PieceHead)

Read = Callable[[int], bytes]
"""The next bytes of a snapshot: as many as that, or fewer at its end."""

Write = Callable[[bytes], object]
"""Takes the next bytes."""


class SnapshotDriver(Driver):
    """A driver whose enclaves can move."""

    def settle(self, task: Task) -> None:
        """Wait until all that a stopped enclave has written is shown: it is not to be shown again elsewhere.

        Raises StateError where that would wait for the caller.
        """
        if self.ocalls.calls_back_here:
            raise StateError(f"cannot snapshot {task.label} in on_output; do that on another thread")
        with self.settled:
            self.settled.wait_for(lambda: self._is_settled(task))

    def snapshot(self, task: Task, write: Write, options: int) -> int:
        """Hand a snapshot to write, piece by piece; its number.  options: abi.snapshot.Option.

        Raises StateError, NoSuchEnclaveError, SnapshotError, NoMemoryError, and what write raises; the
        enclave is as it was.
        """
        with Shield(), self._buffer_for_first(task, options) as (place, size, length):
            piece = self._memory.read(place, length)
            number = SnapshotHead.from_buffer_copy(piece).number
            write(piece)
            last = False
            while not last:
                result = self._ecall(HostCall.SNAPSHOT_PIECE, task.eid, number, place, size)
                if result.error:
                    self._refused("snapshot", task, result)
                piece = self._memory.read(place, result.value)
                write(piece)
                last = bool(PieceHead.from_buffer_copy(piece).last)
            return number

    def move_away(self, task: Task, number: int) -> None:
        """The snapshot with this number is whole, and safe: from now on the enclave is there.

        Raises as `snapshot` does, and the enclave is here.
        """
        with Shield():
            self._call("snapshot", task, HostCall.SNAPSHOT_MOVE, number)
            self._end(task, Result(Reason.MOVED))
            self._release_if_over(task)

    def kernel_buffer(self, task: Task) -> bytes:
        """What is in the page that an enclave shares with the host."""
        return self._memory.read(task.kernel_buffer, PAGE_SIZE)

    def restore(self, order: Order, read: Read, kernel_buffer: bytes, desk: Desk | None = None) -> Task:
        """Restore an enclave from a snapshot.

        Raises SnapshotError, NoMemoryError, and what read raises; nothing is left behind.
        """
        with Shield():
            self._check_failure()
            begins = _first(read)
            task = self._new_task(order)
            try:
                with self._pages.borrow(len(begins)) as place:
                    self._memory.write(place, begins)
                    task.eid = self._make(task, HostCall.RESTORE, restore_param(task, place, len(begins)))
            except BaseException:
                self._free(task)
                raise
            self._begin(task)
            try:
                self._fill(task, read)
            except BaseException:
                self.destroy_if_alive(task)
                raise
            self._memory.write(task.kernel_buffer, kernel_buffer)
            task.desk = desk
            if self.info(task).state is State.STOPPED:
                task.run = task.make_run(task)
            return task

    @contextmanager
    def _buffer_for_first(self, task: Task, options: int) -> Iterator[tuple[int, int, int]]:
        """Begin a snapshot in a buffer that is large enough: its address and size, and the first bytes."""
        size = BUFFER_BYTES
        while True:
            with self._pages.borrow(size) as place:
                result = self._ecall(HostCall.SNAPSHOT, task.eid, options, place, size)
                if not result.error:
                    yield place, size, result.value
                    return
            if result.value <= size:
                self._refused("snapshot", task, result)
            size = result.value  # its list of spans and regions is long

    def _fill(self, task: Task, read: Read) -> None:
        with self._pages.borrow(BUFFER_BYTES) as place:
            for head, piece in _rest(read):
                self._memory.write(place, head)
                self._memory.write(place + PIECE_HEAD, piece[: BUFFER_BYTES - PIECE_HEAD])
                result = self._ecall(HostCall.RESTORE_PIECE, task.eid, place, PIECE_HEAD + len(piece))
                if result.error:
                    self._refused("restore", task, result)
                if result.value:
                    return

    def _is_settled(self, task: Task) -> bool:
        """True if nothing that the enclave has written is still to be shown, or it goes on anyway."""
        if self._failure is not None or task.ended:
            return True
        if self.info(task).state not in (State.FRESH, State.STOPPED):
            return True
        writes = task.in_callback and self._read_word(task, 0) == Ocall.WRITE
        return self._scheduler.is_parked(task) and not writes


def _first(read: Read) -> bytes:
    """The head and the first piece.  Raises SnapshotError if they are cut off or too long."""
    head = read(HEAD)
    if len(head) < HEAD:
        raise SnapshotError(f"cannot restore: {WHY[Why.DAMAGED]}")
    return b"".join([head, *_piece(read)])


def _rest(read: Read) -> Iterator[tuple[bytes, bytes]]:
    """The other pieces, for as long as somebody wants them.  Raises SnapshotError."""
    while True:
        yield _piece(read)


def _piece(read: Read) -> tuple[bytes, bytes]:
    """A piece's head, and the piece."""
    head = read(PIECE_HEAD)
    size = PieceHead.from_buffer_copy(head).size if len(head) == PIECE_HEAD else MAX_PIECE + 1
    if size > MAX_PIECE:
        raise SnapshotError(f"cannot restore: {WHY[Why.DAMAGED]}")
    return head, read(size)
