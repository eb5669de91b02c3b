"""Is interrupted at random moments while it creates, stops, resumes and destroys; the machine stays sound.

Run by test_failures.py.  Prints how many interrupts came and how many enclaves were created.
"""

import os
import random
import signal
import sys
import threading
import time

import penglai
from penglai.monitor.invariants import check

INTERRUPTS = 200
ROUNDS = 10


def work(machine: penglai.Machine, created: list[int]) -> None:
    enclave = machine.create("loop")
    created.append(enclave.eid)
    run = enclave.start()
    enclave.stop()
    enclave.resume()
    enclave.destroy()
    run.result()


def undisturbed(machine: penglai.Machine) -> float:
    """Seconds that one round of it takes here and now, under whatever load there is."""
    work(machine, [])
    begun = time.monotonic()
    for _ in range(ROUNDS):
        work(machine, [])
    return (time.monotonic() - begun) / ROUNDS


def interrupter(armed: threading.Semaphore, round_: float) -> None:
    """One interrupt for each time that the main thread says it is ready for one, within four rounds."""
    pause = random.Random(1)
    for _ in range(INTERRUPTS):
        armed.acquire()
        time.sleep(pause.uniform(0, 4 * round_))
        os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    interrupts, created = 0, []
    armed = threading.Semaphore(0)
    with penglai.Machine("64M", 2) as machine:
        round_ = undisturbed(machine)
        threading.Thread(target=interrupter, args=(armed, round_), daemon=True).start()
        while interrupts < INTERRUPTS:
            try:
                armed.release()
                while True:
                    work(machine, created)
            except KeyboardInterrupt:
                interrupts += 1
        for enclave in machine.enclaves:
            enclave.destroy()
        check(machine._monitor)
        ownership = machine._monitor.platform.ownership
        assert (ownership.snapshot() > 0).sum() == 0, "no page is left with an enclave"
    sys.stdout.write(f"{interrupts} {len(created)}\n")


main()
