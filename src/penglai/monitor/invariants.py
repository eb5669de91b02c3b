"""What must always be true of pages and their owners: checked by tests, at any quiet moment."""

import numpy as np
from numpy.typing import NDArray

from penglai.abi.errors import MonitorBug
from penglai.abi.layout import ADDRESS_BITS, KERNEL_BUFFER
from penglai.abi.riscv import Pte
from penglai.machine.pages import Pages
from penglai.monitor.enclave import Enclave
from penglai.monitor.monitor import Monitor
from penglai.monitor.ownership import BUFFER, FREE, HOST, MONITOR, SECURE, SHM, VISIBLE
from penglai.monitor.registry import SecureShm


def check(monitor: Monitor) -> None:
    """Compare the ownership array with every page table, the pool and the host's view of the bus.

    No call may be under way and no enclave on a hart.  Raises MonitorBug at the first contradiction.
    """
    memory, ownership = monitor.platform.memory, monitor.platform.ownership
    owner = ownership.snapshot()
    _expect(np.isin(owner, VISIBLE) == memory.host_visible, "the bus shows other pages than the host's")
    _expect(np.count_nonzero(owner == FREE) == ownership.free_pages, "the pool's count is wrong")
    _expect(not memory.pages[owner == FREE].any(), "a page of the pool is not zero")
    registry = monitor.platform.registry
    expected = np.where(owner == FREE, FREE, HOST).astype(owner.dtype)

    def claim(pages: Pages, mark: int, what: str) -> None:
        _expect(expected[pages] == HOST, f"a page of {what} is another's too")
        _expect(len(np.unique(pages)) == len(pages), f"{what} has a page twice")
        expected[pages] = mark

    for enclave in (*monitor.enclaves(), *registry.ghosts()):
        for pages in enclave.owned():
            claim(pages, enclave.eid, repr(enclave))
        claim(np.array(enclave.table.tables, dtype=np.int64), MONITOR, "a page table")
    for enclave in monitor.enclaves():
        _expect(enclave.context.owner == 0, f"{enclave!r} is on no hart, and one may change its registers")
        claim(np.array([enclave.kernel_buffer]), BUFFER, "a kernel buffer")
        expected[enclave.shm] = SHM
    for shared in registry.shared.values():
        claim(np.concatenate(shared.parts), SECURE, "a shared memory")
    for parcel in (parcel for queue in registry.parcels.values() for parcel in queue):
        claim(parcel.pages, MONITOR, "a parcel")
    _expect(np.array_equal(owner, expected), "the owner of a page is not who has it")
    for enclave in monitor.enclaves():
        _check_table(enclave, owner, registry.shared)


def _check_table(enclave: Enclave, owner: NDArray[np.int32], shared_memories: dict[int, SecureShm]) -> None:
    """An enclave maps each page of its own once, those that it may share, and no other."""
    shared = [
        *enclave.shm.tolist(),
        *(page for key in enclave.attached for part in shared_memories[key].parts for page in part.tolist()),
    ]
    template = enclave.template
    if template is not None and template.shadow_pages is not None:
        shadow_pages = template.shadow_pages
        shared += shadow_pages.pages[shadow_pages.permissions & Pte.W == 0].tolist()
    mapped = []
    for address, page, pte in enclave.table.mappings():
        what = f"{enclave!r}, page {page} at {address:#x},"
        _expect(not (pte & Pte.W and pte & Pte.X), f"{what} is writable and executable")
        _expect(bool(pte & Pte.U), f"{what} is not a user page")
        if address == KERNEL_BUFFER % (1 << ADDRESS_BITS):
            _expect(owner[page] == BUFFER, f"{what} is no kernel buffer")
        else:
            mapped.append(page)
            if template is not None and owner[page] == template.eid:
                _expect(not pte & Pte.W, f"{what} is another's and writable")
    _expect(
        sorted(mapped) == sorted([*np.concatenate(list(enclave.owned())), *shared]),
        f"{enclave!r} maps other pages than its own",
    )


def _expect(condition: bool | np.bool_ | NDArray[np.bool_], message: str) -> None:
    if not np.all(condition):
        raise MonitorBug(message)
