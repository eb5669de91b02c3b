"""Measurement: the vectors of the ABI, and what it covers."""

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from tests.support.rawhost import RW, RX, ImageSpec, RawHost

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.attestation.measure import measure

VECTOR = {
    0x1000: (RX, bytes(range(256)) * 16),
    0x2000: (RW, b""),
    0x3000: (RW, b"\xff" * PAGE_SIZE),
}
VECTOR_DIGEST = "c6d6aee004a8cb7bfc01aafe265f005430759487efba6d88cb23953792a647c2"


def test_the_monitor_measures_the_vector_of_the_abi(raw: RawHost):
    eid = raw.make(ImageSpec(VECTOR, stack_pages=16))
    assert bytes(raw.info(eid).measurement).hex() == VECTOR_DIGEST


def digest(entry: int, pages: list[tuple[int, int, bytes]]) -> bytes:
    addresses = np.array([address for address, _, _ in pages], dtype=np.uint64)
    permissions = np.array([bits for _, bits, _ in pages], dtype=np.uint8)

    def read(which: slice) -> bytes:
        return b"".join(content.ljust(PAGE_SIZE, b"\0") for _, _, content in pages[which])

    return measure(entry, addresses, permissions, read)


def test_sm3_itself():
    """The digest is SM3 of exactly the bytes that the ABI lists (one page, computed by hand here)."""
    by_hand = hashes.Hash(hashes.SM3())
    by_hand.update((0x1000).to_bytes(8, "little"))
    by_hand.update((0xFFFF_FF80_0000_1000).to_bytes(8, "little") + bytes([2 + 8 + 16]))
    by_hand.update(b"x".ljust(PAGE_SIZE, b"\0"))
    by_hand.update(bytes(8))
    assert digest(0x1000, [(0x1000, 26, b"x")]) == by_hand.finalize()


PAGE = st.tuples(st.sampled_from([26, 22, 18]), st.binary(max_size=8))


@given(
    pages=st.dictionaries(st.integers(1, 40), PAGE, min_size=1, max_size=20),
    change=st.integers(0, 5),
    which=st.randoms(use_true_random=False),
)
def test_every_change_of_an_image_changes_its_measurement(pages, change, which):
    image = [(number * PAGE_SIZE, *pages[number]) for number in sorted(pages)]
    before = digest(0x1000, image)
    index = which.randrange(len(image))
    address, bits, content = image[index]
    changed, entry = list(image), 0x1000
    if change == 0:
        entry = 0x1002
    elif change == 1:
        changed[index] = (address, bits ^ 8 ^ 4 if bits != 18 else 22, content)
    elif change == 2:
        changed[index] = (address, bits, bytes([content[0] ^ 1, *content[1:]]) if content else b"\1")
    elif change == 3:
        changed.append((41 * PAGE_SIZE, 22, b""))
    elif change == 4:
        changed = [(address + PAGE_SIZE, bits, content) for address, bits, content in image]
    else:
        changed.pop(index)
        if not changed:
            return
    assert digest(entry, changed) != before


@pytest.mark.parametrize("stack_pages", [1, 16, 17])
def test_the_stack_is_measured(raw: RawHost, stack_pages: int):
    eid = raw.make(ImageSpec(VECTOR, stack_pages=stack_pages))
    same = bytes(raw.info(eid).measurement).hex() == VECTOR_DIGEST
    assert same is (stack_pages == 16)


def test_the_same_image_has_the_same_measurement_wherever_it_lies(raw: RawHost):
    eids = [raw.make(ImageSpec(VECTOR, stack_pages=16)) for _ in range(3)]
    assert len({bytes(raw.info(eid).measurement) for eid in eids}) == 1
    assert layout.STACK_TOP % PAGE_SIZE == 0
    assert Pte.U == 16
