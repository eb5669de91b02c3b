"""What penglai boot does: the machine with Linux as its host.

Apart from its command line, so that without options nothing has to be imported to read one.
"""

import contextlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from penglai.abi.errors import MachineError
from penglai.abi.timeout import checked_timeout
from penglai.cli.exits import end_on_signals, err
from penglai.guest.boot import Boot
from penglai.guest.image.current import Image, current_image
from penglai.guest.linux import LinuxGuest, check_sizes
from penglai.guest.sharing import Share
from penglai.guest.terminal import Terminal, is_terminal
from penglai.machine.memory import HostMemory
from penglai.toolchain.places import state_dir
from penglai.virt.system import End, Outcome

SCRIPT = "exec sh /dev/tty"
"""Runs what is typed as a shell script: without prompts, and with the status of its end."""


def host(
    *,
    run: str | None = None,
    memory: str = "256M",
    harts: int = 2,
    append: str = "",
    add: tuple[str, ...] = (),
    share: str | None = None,
    kernel: Path | None = None,
    initrd: Path | None = None,
    profile: str = "native",
    gdb: int | Path | None = None,
    timeout: float | None = None,
) -> int:
    """Boot, until Linux ends; the command's status.  Arguments as the options of penglai boot."""
    check_sizes(memory, harts)
    checked_timeout(timeout)
    shares = [] if share is None else [Share.parse(share)]
    for each in shares:
        each.check()
    interactive = run is None and is_terminal()
    commands = SCRIPT if run is None and not os.isatty(0) else run
    plan = Boot(
        kernel=kernel,
        initrd=initrd,
        append=append,
        files=add,
        commands=commands,
        plain=not interactive,
    )
    end_on_signals()
    software = plan.software(_build)
    state = state_dir()
    while True:
        terminal = Terminal(
            interactive=interactive, take_input=run is None or not os.isatty(0), our_init=plan.ours
        )
        guest = LinuxGuest(software, terminal, memory, harts, state=state, shares=shares, profile=profile)
        with _halted(guest, plan, gdb):
            outcome = _session(guest, terminal, timeout)
        if terminal.failure is not None:
            raise MachineError(f"cannot write the output: {terminal.failure.strerror}")
        if terminal.abandoned:
            return 1
        if outcome.end is not End.REBOOT or commands is not None:
            break
    if (
        commands is not None
        and outcome.end is not End.STATUS
        and (run is not None or outcome.end is not End.OFF)
    ):
        raise MachineError(f"the machine {_what_happened(outcome)} before the commands had ended")
    return outcome.status & 0xFF


def _build() -> Image:
    """The first image, as penglai image build makes it."""
    from penglai.cli.progress import progress  # noqa: PLC0415 - only if there is no image
    from penglai.guest.image.build import build_image  # noqa: PLC0415

    err.print("there is no image yet; building it takes some minutes, once", style="dim")
    with progress() as tell:
        return build_image(tell=tell)


@contextlib.contextmanager
def _halted(guest: LinuxGuest, plan: Boot, place: int | Path | None) -> Iterator[None]:
    """Let it wait for gdb at its first instruction, if there is a place."""
    if place is None:
        yield
        return
    from penglai.debug.kernel import KernelSession  # noqa: PLC0415 - only if it is debugged
    from penglai.guest.image.symbols import kernel_symbols  # noqa: PLC0415

    off = guest.system.close
    with KernelSession(guest.system.supervisor, HostMemory(guest.memory), off, place) as session:
        if plan.kernel is None and (image := plan.image or current_image()):
            err.print(f"in gdb: file {kernel_symbols(image)}")
        err.print(f"halted at the first instruction; in gdb: target remote {session.address}")
        yield
        session.end("W00")


def _session(guest: LinuxGuest, terminal: Terminal, timeout: float | None) -> Outcome:
    """From power on to power off."""
    terminal.leave = guest.system.close
    terminal.begins = threading.Thread(target=guest.warm_up, name="penglai-warm-up", daemon=True).start
    try:
        with guest, terminal.attached(guest.system.request):
            guest.start()
            return guest.wait(timeout)
    except TimeoutError:
        raise MachineError(f"switched off: it was still running after {timeout:g} seconds") from None


def _what_happened(outcome: Outcome) -> str:
    return {End.OFF: "was switched off", End.REBOOT: "wanted to reboot"}.get(outcome.end, "was closed")
