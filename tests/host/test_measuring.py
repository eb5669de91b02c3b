"""Offline measurement: what the monitor will say, before there is a monitor."""

import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.support.elffile import R, Segment, X, elf_file
from tests.support.programs import compiled, eapp

import penglai
from penglai.abi import layout
from penglai.abi.errors import BadArgumentError, ImageError, NoMemoryError
from penglai.abi.riscv import PAGE_SIZE
from penglai.attestation import legacy
from penglai.driver.image import paged_image

LARGE = compiled(
    """#include "eapp.h"
const volatile char text[3 << 20] = {1};
volatile int numbers[300000] = {4, 5, 6};
volatile char zeros[2 << 20];
int EAPP_ENTRY main(void) { return text[1] + numbers[2] + zeros[9]; }
"""
)


def elf(segments: list[tuple[int, int, int, bytes]], entry: int) -> bytes:
    """A static rv64 ELF.  segments: (address, flags, size in memory, content)."""
    header = struct.pack("<4s5B7x", b"\x7fELF", 2, 1, 1, 0, 0)
    header += struct.pack("<HHIQQQIHHHHHH", 2, 243, 1, entry, 64, 0, 0, 64, 56, len(segments), 64, 0, 0)
    table, body = b"", b""
    for address, flags, size, content in segments:
        offset = 64 + 56 * len(segments) + len(body)
        table += struct.pack("<IIQQQQQQ", 1, flags, offset, address, address, len(content), size, 1)
        body += content
    return header + table + body


@st.composite
def images(draw: st.DrawFn) -> bytes:
    """Segments of any size at any place, also unaligned and with gaps between them; code comes first."""
    segments = []
    address = layout.TEXT_BASE + draw(st.integers(0, 3)) * PAGE_SIZE
    entry = address
    for flags in (5, *draw(st.lists(st.sampled_from([4, 5, 6]), max_size=5))):
        content = draw(st.binary(min_size=1, max_size=40)) * draw(st.integers(1, 200))
        size = len(content) + draw(st.sampled_from([0, 1, 100, 3 * PAGE_SIZE]))
        segments.append((address, flags, size, content))
        address = (address + size + draw(st.sampled_from([0, 0, PAGE_SIZE, 1 << 21])) + 0xFFF) & ~0xFFF
        address += draw(st.sampled_from([0, 8, 0x230]))
    return elf(segments, entry)


@pytest.mark.parametrize("stack_size", [1, 65536, 100_000])
@pytest.mark.parametrize("demo", penglai.demos())
def test_a_demo_is_measured_as_the_monitor_does(machine: penglai.Machine, demo: str, stack_size: int):
    measured = machine.create(demo, stack_size=stack_size).info().measurement
    assert penglai.measure(demo, stack_size=stack_size) == measured


@given(image=images(), stack_size=st.sampled_from([4096, 65536]))
@settings(
    max_examples=60,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
def test_any_image_is_measured_as_the_monitor_does(machine: penglai.Machine, image: bytes, stack_size: int):
    enclave = machine.create(image, stack_size=stack_size)
    assert penglai.measure(image, stack_size=stack_size) == enclave.info().measurement
    enclave.destroy()


def test_a_large_image_is_measured_as_the_monitor_does(machine: penglai.Machine):
    assert penglai.measure(LARGE) == machine.create(LARGE).info().measurement


def test_it_is_the_image_that_counts_not_how_it_is_named(machine: penglai.Machine):
    path = eapp("")
    assert penglai.measure(path) == penglai.measure(str(path)) == penglai.measure(path.read_bytes())
    assert penglai.measure(path) != penglai.measure(eapp("EAPP_RETURN(1);"))


def test_the_kind_is_measured_and_a_shadow_template_has_no_stack(machine: penglai.Machine):
    path = eapp("")
    kinds = ("normal", "server", "shadow")
    normal, server, shadow = (penglai.measure(path, kind=kind) for kind in kinds)
    assert len({normal, server, shadow}) == 3
    for kind, expected in zip(kinds, (normal, server, shadow), strict=True):
        enclave = machine.create(path, kind=kind, name=f"of kind {kind}")
        assert enclave.measurement == expected
        enclave.destroy()
    assert shadow == penglai.measure(path, kind="shadow", stack_size=1 << 20)
    template = paged_image(path.read_bytes(), None, "template", 1000)
    assert int(template.addresses.max()) < layout.HEAP_BASE
    assert template.pages == paged_image(path.read_bytes(), 65536, "normal", 1000).pages - 16


def test_the_originals_scheme_is_there():
    path = eapp("")
    legacy = penglai.measure(path, scheme="tvm-legacy", stack_size=4096)
    assert len(legacy) == 32
    assert legacy != penglai.measure(path, stack_size=4096)


@pytest.mark.parametrize(
    ("image", "arguments", "error", "message"),
    [
        ("nothing", {}, ImageError, "no such file: nothing"),
        (b"text", {}, ImageError, "the image is not an ELF"),
        (
            "loop",
            {"kind": "ghost"},
            BadArgumentError,
            "no kind 'ghost' of enclaves; there are normal, server",
        ),
        (
            "loop",
            {"scheme": "md5"},
            BadArgumentError,
            "no scheme 'md5'; there are penglai-2, sm3, tvm-legacy",
        ),
        ("loop", {"stack_size": 0}, BadArgumentError, "a stack of 0 bytes"),
        (elf([(0x1000, 5, 8 << 30, b"code")], 0x1000), {}, NoMemoryError, "larger than 4 GiB"),
    ],
)
def test_what_cannot_be_measured_is_refused(image, arguments, error, message):
    with pytest.raises(error, match=message):
        penglai.measure(image, **arguments)


ATTRIBUTES = b"A\x29\0\0\0riscv\0\x01\x1f\0\0\0\x05rv64i2p0_m2p0\0"
ATTRIBUTES_HEADER = 0x7000_0003


@pytest.mark.parametrize("text", [0x1000, 0x3000])
def test_the_original_measures_attributes_as_a_page_at_address_0(text: int):
    code = Segment(text, 4, b"\x6f\0\0\0", R | X)
    image = elf_file([code, Segment(0, 0, ATTRIBUTES, type=ATTRIBUTES_HEADER)], entry=text)
    addresses = np.array([0, text, layout.STACK_TOP - PAGE_SIZE, layout.KERNEL_BUFFER], dtype=np.uint64)
    pages = [ATTRIBUTES, code.data, b"", b""]

    def read(which: slice) -> bytes:
        return b"".join(page.ljust(PAGE_SIZE, b"\0") for page in pages[which])

    expected = legacy.measure(text, addresses, np.zeros(4, dtype=np.uint8), read)
    measured = penglai.measure(image, stack_size=PAGE_SIZE, scheme="tvm-legacy")
    assert measured == expected
    plain = elf_file([code], entry=text)
    assert penglai.measure(plain, stack_size=PAGE_SIZE, scheme="tvm-legacy") != expected
    for scheme in ("penglai-2", "sm3"):
        one, other = (penglai.measure(each, scheme=scheme) for each in (image, plain))
        assert one == other, "nobody else loads it"
