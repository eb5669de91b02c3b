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


def work(machine: penglai.Machine, created: list[int]) -> None:
    while True:
        enclave = machine.create("loop")
        created.append(enclave.eid)
        run = enclave.start()
        enclave.stop()
        enclave.resume()
        enclave.destroy()
        run.result()


def interrupter(armed: threading.Semaphore) -> None:
    """One interrupt for each time that the main thread says it is ready for one."""
    pause = random.Random(1)
    for _ in range(INTERRUPTS):
        armed.acquire()
        time.sleep(pause.uniform(0.001, 0.01))
        os.kill(os.getpid(), signal.SIGINT)


def main() -> None:
    interrupts, created = 0, []
    armed = threading.Semaphore(0)
    with penglai.Machine("64M", 2) as machine:
        machine.create("loop").destroy()
        threading.Thread(target=interrupter, args=(armed,), daemon=True).start()
        while interrupts < INTERRUPTS:
            try:
                armed.release()
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
