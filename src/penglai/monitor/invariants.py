"""What must always be true of pages and their owners: checked by tests, at any quiet moment."""

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import MonitorBug
from penglai.abi.layout import ADDRESS_BITS, KERNEL_BUFFER
from penglai.abi.riscv import Pte
from penglai.monitor.monitor import Monitor
from penglai.monitor.ownership import FREE, HOST, MONITOR, SHARED


def check(monitor: Monitor) -> None:
    """Compare the ownership array with every page table, the pool and the host's view of the bus.

    No call may be under way and no enclave on a hart.  Raises MonitorBug at the first contradiction.
    """
    memory, ownership = monitor.platform.memory, monitor.platform.ownership
    owner = ownership.snapshot()
    _expect(
        ((owner == HOST) | (owner == SHARED)) == memory.host_visible,
        "the bus shows other pages than the host's",
    )
    _expect(np.count_nonzero(owner == FREE) == ownership.free_pages, "the pool's count is wrong")
    _expect(not memory.pages[owner == FREE].any(), "a page of the pool is not zero")
    expected = np.where(owner == FREE, FREE, HOST).astype(owner.dtype)
    for enclave in monitor.enclaves():
        with enclave.lock:
            expected[enclave.table.tables] = MONITOR
            for address, page, pte in enclave.table.mappings():
                _expect(expected[page] == HOST, f"page {page} is mapped twice")
                _expect(not (pte & Pte.W and pte & Pte.X), f"page {page} is writable and executable")
                _expect(bool(pte & Pte.U), f"page {page} is not a user page")
                buffer = address == KERNEL_BUFFER % (1 << ADDRESS_BITS)
                expected[page] = SHARED if buffer else enclave.eid
            mapped = np.flatnonzero(expected == enclave.eid)
            _expect(np.array_equal(mapped, np.sort(enclave.pages)), f"{enclave!r} has unmapped pages")
    _expect(np.array_equal(owner, expected), "the owner of a page is not who maps it")


def _expect(condition: bool | np.bool_ | NDArray[np.bool_], message: str) -> None:
    if not np.all(condition):
        raise MonitorBug(message)
