"""Giving memory to the monitor, and its answers about enclaves, with hostile addresses."""

import ctypes

import pytest
from tests.support.rawhost import EXIT, RawHost

from penglai.abi.errors import AccessFault, ErrorCode
from penglai.abi.riscv import CHUNK_SIZE, PAGE_SIZE, RAM_BASE
from penglai.abi.sbi import EnclaveInfo, HostCall
from penglai.machine import Board

END = RAM_BASE + (16 << 20)


@pytest.mark.parametrize(
    ("pa", "size", "error"),
    [
        (RAM_BASE + CHUNK_SIZE, 0, ErrorCode.BAD_ARGUMENT),
        (RAM_BASE + CHUNK_SIZE, PAGE_SIZE, ErrorCode.BAD_ARGUMENT),
        (RAM_BASE + PAGE_SIZE, CHUNK_SIZE, ErrorCode.BAD_ARGUMENT),
        (RAM_BASE + CHUNK_SIZE + 1, CHUNK_SIZE, ErrorCode.BAD_ARGUMENT),
        (RAM_BASE - CHUNK_SIZE, CHUNK_SIZE, ErrorCode.SECURITY),
        (END, CHUNK_SIZE, ErrorCode.SECURITY),
        (END - CHUNK_SIZE, 2 * CHUNK_SIZE, ErrorCode.SECURITY),
        (0, CHUNK_SIZE, ErrorCode.SECURITY),
        ((1 << 64) - CHUNK_SIZE, 2 * CHUNK_SIZE, ErrorCode.SECURITY),
        (RAM_BASE, (1 << 64) - CHUNK_SIZE, ErrorCode.SECURITY),
        (END - CHUNK_SIZE, CHUNK_SIZE, ErrorCode.SECURITY),
    ],
    ids=str,
)
def test_memory_that_is_not_the_hosts_to_give_is_refused(raw: RawHost, pa: int, size: int, error: int):
    before = raw.snapshot()
    assert raw.call(HostCall.MEMORY_EXTEND, pa, size).error == error
    assert raw.snapshot() == before


def test_a_chunk_is_the_hosts_or_the_monitors(board: Board):
    raw = RawHost(board, chunks=0)
    chunk = END - CHUNK_SIZE
    raw.memory.write(chunk, b"secret of the host" * 10)
    raw.give_chunk()
    for pa in (chunk, chunk + CHUNK_SIZE - 8):
        with pytest.raises(AccessFault):
            raw.memory.read(pa, 8)
        with pytest.raises(AccessFault):
            raw.memory.write(pa, bytes(8))
    assert raw.memory.read(chunk - 8, 8) == bytes(8), "its neighbour still is"
    with pytest.raises(AccessFault):
        raw.memory.read(chunk - 4, 8)
    assert raw.monitor.platform.ownership.free_pages == CHUNK_SIZE // PAGE_SIZE
    raw.snapshot()


@pytest.mark.parametrize("pa", [4, END - CHUNK_SIZE, END - 8, END, (1 << 64) - 8])
@pytest.mark.parametrize("place", [0, 1])
def test_info_is_written_to_the_hosts_memory_only(raw: RawHost, pa: int, place: int):
    eid = raw.make(EXIT)
    arguments = [0, 0]
    arguments[place] = pa
    assert raw.call(HostCall.INFO, eid, *arguments).error in (ErrorCode.SECURITY, ErrorCode.BAD_ARGUMENT)


def test_messages_to_memory_that_the_host_gave_away_are_dropped(raw: RawHost):
    """The mailbox was the host's at create; when the enclave ends, it is the pool's."""
    lost = RAM_BASE + CHUNK_SIZE
    eid = raw.create("li a0, -1\n" + EXIT, retval_pa=lost, ocall_id_pa=lost + 8).value
    assert raw.call(HostCall.INFO, eid, 0, lost + 1024).error == 0
    raw.start(eid)
    assert raw.call(HostCall.MEMORY_EXTEND, lost, CHUNK_SIZE).error == 0
    assert raw.enter(eid, raw.board.host_port(raw.board.harts[0])) == (0, 0)
    raw.snapshot()


def test_the_final_account_comes_at_the_end(raw: RawHost):
    eid = raw.make(EXIT)
    page = raw.page()
    assert raw.call(HostCall.INFO, eid, 0, page).error == 0
    nothing = bytes(ctypes.sizeof(EnclaveInfo))
    assert raw.memory.read(page, len(nothing)) == nothing
    assert raw.call(HostCall.DESTROY, eid).error == 0
    assert raw.memory.read(page, 8) == (6).to_bytes(8, "little"), "DESTROYED"
