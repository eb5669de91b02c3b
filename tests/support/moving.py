"""Stopping an enclave at a place that is the same each time: where it has written something."""

import threading

import penglai
from penglai import State
from tests.support.waiting import PATIENCE


def stop_after(machine: penglai.Machine, enclave: penglai.Enclave, lines: int) -> None:
    """Let an enclave go on until it has written so many lines more, and stop it there.

    It is stopped while it waits for its output to be shown.
    """
    left, there = lines, threading.Event()

    def written(_eid: int, text: bytes) -> None:
        nonlocal left
        left -= text.count(b"\n")
        if left <= 0 and not there.is_set():
            enclave.stop()
            there.set()

    machine.on_output = written
    if enclave.state is State.FRESH:
        enclave.start()
    else:
        enclave.resume()
    assert there.wait(PATIENCE)
