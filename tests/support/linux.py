"""Linux with penglai.ko for tests: boots, runs commands, and tells what they wrote."""

import functools
import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import penglai
from penglai.guest.boot import Boot
from penglai.guest.image.build import build_kernel, make_image
from penglai.guest.image.current import Image
from penglai.guest.image.module import build_module
from penglai.guest.image.work import Tell
from penglai.guest.linux import LinuxGuest
from penglai.guest.sharing import Share
from penglai.sdk.build import ENCLAVE
from penglai.sdk.cross import kit_key
from penglai.sdk.hostbuild import HOST, build_host
from penglai.toolchain.places import cache_dir
from penglai.virt.system import End, Outcome
from tests.support.waiting import PATIENCE

PROGRAMS = Path(__file__).parents[1] / "guest" / "programs"
LEAKS = """
    mount -t debugfs debugfs /sys/kernel/debug
    echo scan > /sys/kernel/debug/kmemleak
    echo "leaks:"; cat /sys/kernel/debug/kmemleak; echo "end of leaks"
"""
"""Commands that ask the debug kernel what has leaked."""
LOG = "\necho log:; dmesg\n"
"""Commands that end with what the kernel has said."""
_COMPLAINT = re.compile(r"WARNING|BUG|INFO: |possible|Call Trace|KASAN|Oops|Unable to handle|unreferenced")


class Recorder:
    """A console that keeps what the guest writes, and can type."""

    size = (80, 24)

    def __init__(self) -> None:
        self.written = bytearray()
        self._typed = bytearray()
        self._changed = threading.Condition()

    def write(self, data: bytes) -> None:
        with self._changed:
            self.written += data
            self._changed.notify_all()

    def read(self, limit: int) -> bytes:
        data = bytes(self._typed[:limit])
        del self._typed[:limit]
        return data

    @property
    def waiting(self) -> bool:
        return bool(self._typed)

    @property
    def text(self) -> str:
        return self.written.decode("utf-8", "replace").lstrip("\x1e")

    def type(self, guest: LinuxGuest, text: str) -> None:
        self._typed += text.encode()
        guest.system.request()

    def wait_for(self, text: str) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: text in self.text, PATIENCE), self.text


@dataclass(frozen=True)
class Ran:
    """How commands ended, and what they wrote."""

    status: int
    output: str


@functools.cache
def image(variant: str = "") -> Image:
    """The image of all that is shipped."""
    return make_image(variant=variant)


def prepare(variant: str, tell: Tell) -> None:
    """Build the image, and for the kernel of every day the tests' own modules.  Raises ToolchainError."""
    make_image(variant=variant, tell=tell)
    if not variant:
        for kbuild in PROGRAMS.glob("*/Kbuild"):
            kernel_module(kbuild.parent.name)


@functools.cache
def host_program(*names: str) -> Path:
    """A C program of tests/guest/programs for Linux; the first name is the program's."""
    sources = [PROGRAMS / f"{name}.c" for name in names]
    inputs = b"".join(path.read_bytes() for path in [*sources, PROGRAMS / "device.h"])
    inputs += kit_key(HOST).encode()
    target = cache_dir() / "tests" / f"{names[0]}-{hashlib.sha256(inputs).hexdigest()[:24]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        build_host(sources, target, ["-Wall", "-Wextra", "-Werror", "-D_GNU_SOURCE"])
    return target


@functools.cache
def enclave_program(name: str) -> Path:
    """An enclave of tests/guest/programs."""
    source = PROGRAMS / f"{name}.c"
    inputs = source.read_bytes() + kit_key(ENCLAVE).encode()
    target = cache_dir() / "tests" / f"{name}-{hashlib.sha256(inputs).hexdigest()[:24]}"
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        penglai.build(source, target)
    return target


def kernel_module(directory: str) -> Path:
    """A kernel module of tests/guest/programs."""
    return build_module(build_kernel(), PROGRAMS / directory, directory)


def boot(
    commands: str | None,
    files: dict[str, Path] | None = None,
    *,
    variant: str = "",
    append: str = "",
    plain: bool = True,
) -> Boot:
    """What to boot: the shipped image, and files by name."""
    found = image(variant)
    entries = tuple(f"{name}={path}" for name, path in (files or {}).items())
    return Boot(image=found, append=append, files=entries, commands=commands, plain=plain)


def run(
    commands: str,
    files: dict[str, Path] | None = None,
    *,
    harts: int = 2,
    memory: str = "256M",
    variant: str = "",
    append: str = "",
    shares: Sequence[Share] = (),
    profile: str = "native",
) -> Ran:
    """Boot, run shell commands behind install.sh, and switch off."""
    script = f"sh install.sh || exit 99\n{commands}"
    console = Recorder()
    software = boot(script, files, variant=variant, append=append).software()
    with LinuxGuest(software, console, memory, harts, shares=shares, profile=profile) as guest:
        guest.start()
        try:
            outcome = guest.wait(PATIENCE)
        except TimeoutError:
            raise AssertionError(f"it hangs:\n{console.text}") from None
    assert outcome.end is End.STATUS, (outcome, console.text)
    return Ran(outcome.status, console.text)


def check_kernel(ran: Ran, *, leaks: bool = False) -> str:
    """The kernel complains of nothing in LOG; with leaks: nor LEAKS of the driver.  What was before LOG."""
    output, _, log = ran.output.partition("log:\n")
    assert log, ran.output
    assert not _COMPLAINT.search(log), log
    if leaks:
        found = re.search("leaks:(.*)end of leaks", output, re.DOTALL)
        assert found, output
        assert "penglai" not in found[1], found[1]
    return output


__all__ = [
    "LEAKS",
    "LOG",
    "Outcome",
    "Ran",
    "Recorder",
    "boot",
    "check_kernel",
    "enclave_program",
    "host_program",
    "image",
    "run",
]
