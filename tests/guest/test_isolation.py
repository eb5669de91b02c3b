"""Linux as the host: it reaches no page of an enclave, by any mapping."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support import linux
from tests.support.linux import Recorder, host_program, kernel_module
from tests.support.waiting import SOAK

from penglai.guest.linux import LinuxGuest
from penglai.monitor.invariants import check

pytestmark = pytest.mark.linux


@contextmanager
def shell(files: dict[str, Path], harts: int = 2) -> Iterator[tuple[LinuxGuest, Recorder]]:
    """A machine with a shell on its console."""
    console = Recorder()
    with LinuxGuest(linux.boot(None, files).software(), console, harts=harts) as guest:
        guest.start()
        console.wait_for("/ # ")
        yield guest, console


def secure_address(guest: LinuxGuest) -> int:
    """A page of a running enclave, found from inside the monitor's walls."""
    (enclave,) = guest.monitor.enclaves()
    return guest.memory.address_of(int(enclave.image[0]))


@pytest.mark.parametrize("harts", [1, 2])
def test_linux_cannot_touch_an_enclaves_page_by_any_mapping(harts: int):
    files = {"probe": host_program("probe"), "peek.ko": kernel_module("peek")}
    with shell(files, harts) as (guest, console):
        console.type(guest, "sh install.sh; ./host loop >out & until grep -s round out; do sleep 0.1; done\n")
        console.wait_for("round 1")
        address = secure_address(guest)
        before = guest.memory.read(address, 4096)
        assert np.frombuffer(before, dtype=np.uint8).any()
        console.type(
            guest, f"./probe {address:#x}; insmod peek.ko address={address:#x}; dmesg | grep peek:\n"
        )
        console.type(guest, "echo done\n")
        console.wait_for("# done")
        text = console.text
        assert "read: Bad address" in text, text
        for way in ("write", "load", "store"):  # which the kernel or the program has to pay for with its life
            assert f"{way}: Segmentation fault" in text, text
        assert text.count("access fault") == 1, text
        for mapping in ("linear", "vmap", "ioremap"):
            for way in ("read", "write"):
                assert f"peek: {mapping}: {way} fault" in text, text
        assert guest.memory.read(address, 4096) == before
        console.type(guest, "killall host; sleep 0.5; echo over\n")
        console.wait_for("# over")
        console.type(guest, f"./probe {address:#x}; echo free\n")
        console.wait_for("store: done\nfree")
        for way in ("read", "write", "load", "store"):
            assert f"{way}: done" in console.text, "given back, the page is Linux's again"


@pytest.mark.parametrize("harts", [1, 2])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_hostile_kernel_gets_nothing_and_breaks_nothing(harts: int, seed: int):
    """Every call of the monitor with every kind of lie, while an enclave computes."""
    calls = 300_000 if SOAK else 20_000
    with shell({"hostile.ko": kernel_module("hostile")}, harts) as (guest, console):
        console.type(guest, "sh install.sh; ./host prime >out & until grep -s . /proc/$!/wchan; do :; done\n")
        while not guest.monitor.enclaves():
            pass
        (enclave,) = guest.monitor.enclaves()
        secret = guest.memory.address_of(int(enclave.image[0]))
        arguments = f"secret={secret:#x} victim={enclave.eid} seed={seed} calls={calls}"
        console.type(
            guest, f"insmod hostile.ko {arguments}; wait; cat out; dmesg | grep hostile:; echo end\n"
        )
        console.wait_for("\nend")
        found = re.search(r"hostile: (\d+) calls, (\d+) accepted", console.text)
        assert found, console.text
        assert int(found[2]) > calls // 100, "some of it was well-formed"
        assert f"enclave {enclave.eid} exited with value 78498" in console.text
        assert not re.search("Oops|WARNING|BUG", console.text), console.text
        check(guest.monitor)
