"""The signal by which the native engine learns of page faults, where others in the process want it too."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.support.bare import ENGINES
from tests.support.waiting import PATIENCE

pytestmark = pytest.mark.skipif("native" not in ENGINES, reason="there is no native engine here")

ROOT = Path(__file__).resolve().parents[2]

FAULTING = """
    import faulthandler, os, signal, sys, threading
    from penglai.abi.riscv import PAGE_SIZE, Cause
    from penglai.machine import Board
    from tests.support.bare import R, W, U, CODE, load

    PAGES, FAR = 90, 0x400000
    board = Board(16 << 20, 1, engine="native")
    hart = board.harts[0]
    text = "1: ld t1, 0(a1)\\nadd a1, a1, a3\\naddi s0, s0, -1\\nbnez s0, 1b\\necall"
    space, context = load(board, text)
    scattered = [space.page() for _ in range(2 * PAGES)][::2]
    for number, page in enumerate(scattered):
        space.map(FAR + number * PAGE_SIZE, page, R | W | U)

    def walk():
        "Each page is a fault of its own; afterwards none of them is mapped any more."
        context.pc, context.a1, context.a3, context.s0 = CODE, FAR, PAGE_SIZE, PAGES
        assert hart.run(context).cause == Cause.ECALL_U
        hart.flush_tlb(context.satp, ended=True)
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    text = textwrap.dedent(FAULTING) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", text], capture_output=True, text=True, cwd=ROOT, timeout=PATIENCE, check=False
    )


def test_a_handler_that_is_put_in_its_place_between_two_runs_gets_no_fault():
    done = run("""
        for _ in range(40):
            walk()
            faulthandler.enable()
            walk()
            faulthandler.disable()
        print("done")
    """)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_handler_that_is_put_in_its_place_during_a_run_does_not_end_the_process():
    """It may get a fault of the enclave, and says so; it hands it on, and the enclave goes on."""
    done = run("""
        nowhere = open(os.devnull, "w")

        def walks(began):
            walk()
            began.set()
            for _ in range(5):
                walk()

        for _ in range(40):
            began = threading.Event()
            thread = threading.Thread(target=walks, args=(began,))
            thread.start()
            began.wait()
            faulthandler.enable(nowhere, all_threads=False)
            thread.join()
            faulthandler.disable()
        print("done")
    """)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr


def test_a_fault_of_somebody_else_is_still_his():
    done = run("""
        import ctypes
        faulthandler.enable()
        walk()
        ctypes.string_at(8)
    """)
    assert done.returncode == -11
    assert "Segmentation fault" in done.stderr


def test_a_signal_from_outside_still_ends_the_process():
    done = run("""
        walk()
        os.kill(os.getpid(), signal.SIGSEGV)
        os.kill(os.getpid(), signal.SIGSEGV)
        print("lives")
    """)
    assert done.returncode == -11
    assert not done.stdout
