"""The original's scheme: the vectors of the ABI, and where it differs from the scheme of the ABI."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE
from penglai.attestation import legacy
from penglai.attestation.report import report_hash

VECTOR = {
    0x1000: (26, bytes(range(256)) * 16),
    0x2000: (22, bytes(PAGE_SIZE)),
    0x3000: (22, b"\xff" * PAGE_SIZE),
    **{layout.STACK_TOP - number * PAGE_SIZE: (22, bytes(PAGE_SIZE)) for number in range(1, 17)},
    layout.KERNEL_BUFFER: (22, bytes(PAGE_SIZE)),
}
MEASUREMENT = "863db8ff9520977fcdb0d94d9ee5feb2c3165cc2b99b17e39db7949ab6bc10f4"


def measure(pages: dict[int, tuple[int, bytes]]) -> str:
    addresses = np.array(sorted(pages), dtype=np.uint64)
    permissions = np.array([pages[int(address)][0] for address in addresses], dtype=np.uint8)

    def read(which: slice) -> bytes:
        return b"".join(pages[int(address)][1] for address in addresses[which])

    return legacy.measure(0x1000, addresses, permissions, read).hex()


def test_the_digest_of_abc():
    expected = "37bc43d11cab393d7899ef6224f568ec18a8fd851d165c500c3754020f466a04"
    assert legacy.digest(b"abc").hex() == expected


def test_the_measurement_and_the_report_hash():
    assert measure(VECTOR) == MEASUREMENT
    expected = "666d5857ba43d80bfc9a04a8217db8bcd108578d7641c930b8fef918ef02bfa2"
    assert report_hash(bytes.fromhex(MEASUREMENT), 5, "tvm-legacy").hex() == expected


@pytest.mark.parametrize("address", [0x1000, 0x3000, layout.KERNEL_BUFFER])
def test_permissions_are_not_covered_and_contents_are(address: int):
    bits, content = VECTOR[address]
    assert measure(VECTOR | {address: (bits ^ 12, content)}) == MEASUREMENT
    assert measure(VECTOR | {address: (bits, content[:-1] + b"\1")}) != MEASUREMENT


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=5))
def test_it_does_not_matter_in_which_pieces_data_comes(data: bytes, cuts: list[int]):
    state = legacy.LegacyHash()
    for start, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(data)], strict=True):
        state.update(data[start:end])
    assert state.finalize() == legacy.digest(data)
