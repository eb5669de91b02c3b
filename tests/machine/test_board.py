"""The board: ports, the timer call, power."""

import os
import threading

import pytest
from tests.support.waiting import PATIENCE

from penglai.abi import sbi
from penglai.abi.errors import BadArgumentError, MachineError
from penglai.abi.firmware import Extension
from penglai.abi.sbi import SbiResult
from penglai.machine import Board, Hart, HostPort, ManualClock


@pytest.mark.parametrize("harts", [0, -1, 65])
def test_a_machine_has_1_to_64_harts(harts: int):
    with pytest.raises(BadArgumentError, match="harts"):
        Board(16 << 20, harts)


def test_a_port_carries_registers(board: Board):
    seen = []

    def firmware(hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        seen.append((hart, extension, function, arguments))
        return SbiResult(-7, 8)

    board.install(firmware)
    assert board.host_port().ecall(0x100100, 3, 1, -1, 1 << 64) == (-7, 8)
    assert board.host_port(board.harts[1]).ecall(1, 2) == (-7, 8)
    assert seen == [
        (None, 0x100100, 3, (1, (1 << 64) - 1, 0)),
        (board.harts[1], 1, 2, ()),
    ], "64-bit registers, whatever the host passed"
    with pytest.raises(TypeError):
        board.host_port().ecall(0x100100, 3, "1")
    assert len(seen) == 2


def test_without_firmware_nothing_is_supported(board: Board):
    assert board.host_port().ecall(sbi.EXTENSION, 99) == (-2, 0)


def test_the_timer_belongs_to_the_hart_that_sets_it():
    board = Board(16 << 20, 2, ManualClock())
    port = board.host_port(board.harts[1])
    assert port.ecall(Extension.TIME, 0, 50) == (0, 0)
    assert board.harts[1].deadline == 5000, "50 ticks of 100 ns"
    assert port.ecall(Extension.TIME, 0, (1 << 64) - 1) == (0, 0)
    assert board.harts[1].deadline == (1 << 64) - 1
    assert board.host_port().ecall(Extension.TIME, 0, 50) == (-2, 0), "no hart, no timer"
    board.power_off()


def test_the_clock_of_a_port_is_the_machines():
    clock = ManualClock()
    board = Board(16 << 20, 1, clock)
    clock.advance(12_345)
    assert board.host_port().time() == 123
    with pytest.raises(ValueError, match="backwards"):
        clock.advance(-1)
    board.power_off()


def test_harts_are_threads_in_the_host(board: Board):
    together = threading.Barrier(len(board.harts) + 1)
    names = []

    def host_main(port: HostPort) -> None:
        names.append(threading.current_thread().name)
        together.wait(PATIENCE)

    board.power_on(host_main)
    together.wait(PATIENCE)
    board.power_off()
    assert sorted(names) == ["penglai-hart-0", "penglai-hart-1"]


def test_a_machine_that_is_off_answers_nothing(board: Board):
    board.power_off()
    board.power_off()
    with pytest.raises(MachineError, match="switched off"):
        board.host_port().ecall(sbi.EXTENSION, 99)


def test_a_fork_has_no_machine(board: Board):
    port = board.host_port()
    child = os.fork()
    if child == 0:
        try:
            port.ecall(sbi.EXTENSION, 99)
        except MachineError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_a_hart_is_in_one_call_at_a_time(board: Board):
    """Two threads of the host at one hart's port would run two contexts on one hart."""
    inside, go_on = threading.Event(), threading.Event()

    def firmware(hart: Hart | None, extension: int, function: int, arguments: tuple[int, ...]) -> SbiResult:
        inside.set()
        assert go_on.wait(PATIENCE)
        return SbiResult(0, 1)

    board.install(firmware)
    port = board.host_port(board.harts[0])
    thread = threading.Thread(target=port.ecall, args=(1, 1))
    thread.start()
    assert inside.wait(PATIENCE)
    with pytest.raises(MachineError, match="in a call already"):
        board.host_port(board.harts[0]).ecall(1, 1)
    go_on.set()
    assert board.host_port(board.harts[1]).ecall(1, 1) == (0, 1), "another hart is free"
    thread.join()
    assert port.ecall(1, 1) == (0, 1)


@pytest.mark.parametrize("policy", [os.SCHED_OTHER, os.SCHED_BATCH])
def test_a_harts_thread_keeps_the_users_scheduling(policy: int):
    """It asks for short turns, and for nothing else."""
    seen: list[tuple[int, int]] = []

    def user() -> None:
        os.sched_setscheduler(0, policy, os.sched_param(0))
        os.setpriority(os.PRIO_PROCESS, 0, 7)
        board = Board(16 << 20, 2)
        board.power_on(
            lambda _port: seen.append((os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, 0)))
        )
        board.power_off()

    thread = threading.Thread(target=user)
    thread.start()
    thread.join()
    assert seen == [(policy, 7)] * 2


def test_an_engine_that_there_is_not_is_refused(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(BadArgumentError, match=r"there is no engine 'steam'; take one of: .*unicorn"):
        Board(16 << 20, 1, engine="steam")
    monkeypatch.setenv("PENGLAI_ENGINE", "steam")
    with pytest.raises(BadArgumentError, match="steam"):
        Board(16 << 20, 1)
    Board(16 << 20, 1, engine="unicorn").power_off()
