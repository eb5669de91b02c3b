"""Linux as the host: it reaches no page of an enclave, by any mapping."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from tests.support import linux
from tests.support.linux import Recorder, host_program, kernel_module

from penglai.guest.linux import Guest

pytestmark = [pytest.mark.linux, pytest.mark.timeout(1200)]


@contextmanager
def shell(files: dict[str, Path], harts: int = 2) -> Iterator[tuple[Guest, Recorder]]:
    """A machine with a shell on its console."""
    console = Recorder()
    with Guest(linux.boot(None, files).software(), console, harts=harts) as guest:
        guest.start()
        console.wait_for("/ # ")
        yield guest, console


def secure_address(guest: Guest) -> int:
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
