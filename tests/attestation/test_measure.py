"""Measurement: the vectors of the ABI, and what it covers."""

import numpy as np
import pytest
from cryptography.hazmat.primitives import hashes
from hypothesis import given
from hypothesis import strategies as st
from tests.support.rawhost import RW, RX, ImageSpec, RawHost

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Pte
from penglai.abi.sbi import EnclaveType
from penglai.attestation.scheme import Scheme

VECTOR = {
    0x1000: (RX, bytes(range(256)) * 16),
    0x2000: (RW, b""),
    0x3000: (RW, b"\xff" * PAGE_SIZE),
}
VECTOR_DIGEST = "0a98b1f493f79d1e6057eeda2c12d559d7887b129125b7e21006df504eccc753"
FIRST_DIGEST = "c6d6aee004a8cb7bfc01aafe265f005430759487efba6d88cb23953792a647c2"
Page = tuple[int, int, bytes]
"""Address, R, W, X and U bits, content."""


def whole_vector() -> list[Page]:
    """With 16 stack pages and the kernel buffer."""
    stack = range(layout.STACK_TOP - 16 * PAGE_SIZE, layout.STACK_TOP, PAGE_SIZE)
    program = [(address, int(bits | Pte.U), content) for address, (bits, content) in VECTOR.items()]
    return [*program, *((address, 22, b"") for address in stack), (layout.KERNEL_BUFFER, 22, b"")]


def test_the_monitor_measures_the_vector_of_the_abi(raw: RawHost):
    eid = raw.make(ImageSpec(VECTOR, stack_pages=16))
    assert bytes(raw.info(eid).measurement).hex() == VECTOR_DIGEST
    assert digest(0x1000, whole_vector()).hex() == VECTOR_DIGEST


def test_the_vector_under_the_scheme_of_the_first_release():
    assert digest(0x1000, whole_vector(), scheme=Scheme.SM3).hex() == FIRST_DIGEST


def digest(
    entry: int,
    pages: list[Page],
    kind: EnclaveType = EnclaveType.NORMAL,
    scheme: Scheme = Scheme.PENGLAI_2,
) -> bytes:
    addresses = np.array([address for address, _, _ in pages], dtype=np.uint64)
    permissions = np.array([bits for _, bits, _ in pages], dtype=np.uint8)

    def read(which: slice) -> bytes:
        return b"".join(content.ljust(PAGE_SIZE, b"\0") for _, _, content in pages[which])

    return scheme.measure(kind, entry, addresses, permissions, read)


def test_it_is_sm3_of_the_bytes_that_the_abi_lists():
    """Two runs, of which one is in the stack's region, computed by hand here."""
    stack = layout.STACK_TOP - 2 * PAGE_SIZE
    words = [
        *(1, 0x1000, 2 * PAGE_SIZE, 2),  # kind, entry, bytes of stack, runs
        *(0xFFFF_FF80_0000_1000, 1, 2 + 8 + 16),
        *(0xFFFF_FF80_0000_0000 + stack, 2, 2 + 4 + 16),
    ]
    packed = [word.to_bytes(8, "little") for word in words]
    by_hand = hashes.Hash(hashes.SM3())
    by_hand.update(b"penglai-2 measurement\0\0\0" + b"".join(packed[:7]))
    by_hand.update(b"x".ljust(PAGE_SIZE, b"\0"))
    by_hand.update(b"".join(packed[7:]) + bytes(2 * PAGE_SIZE))
    pages = [(0x1000, 26, b"x"), (stack, 22, b""), (stack + PAGE_SIZE, 22, b"")]
    assert digest(0x1000, pages, EnclaveType.SERVER) == by_hand.finalize()


def test_the_kind_is_measured():
    assert len({digest(0x1000, whole_vector(), kind) for kind in EnclaveType}) == 3


def test_the_header_of_a_run_is_no_content_of_another():
    """Under the first release's scheme these two were one: 9 bytes of header x 4096 runs are 9 pages."""
    count = 4096
    header = [(0xFFFF_FF80_0000_1000 + 0x2000 * q).to_bytes(8, "little") + b"\x1a" for q in range(count + 1)]
    blank = bytes(PAGE_SIZE)
    stream = blank + b"".join(head + blank for head in header[1:])
    apart = [(0x1000 + 0x2000 * q, 26, blank) for q in range(count + 1)]
    whole = [(0x1000 + at, 26, stream[at : at + PAGE_SIZE]) for at in range(0, len(stream), PAGE_SIZE)]
    assert digest(0x1000, apart, scheme=Scheme.SM3) == digest(0x1000, whole, scheme=Scheme.SM3)
    assert digest(0x1000, apart) != digest(0x1000, whole)


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
