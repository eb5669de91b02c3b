"""What lies at an address of an enclave, and around it, in words."""

from penglai.abi import layout
from penglai.abi.riscv import PAGE_SIZE, Cause, Pte
from penglai.monitor.enclave import Enclave
from penglai.monitor.regions import Source

NEAR = 1 << 20
"""Bytes: what is this far beside memory of the enclave may have been meant for it."""

BIGGEST_FRAME = 64 << 20
"""Bytes: what is this far below the stack may have been meant for it, by a function with large variables."""

FETCHES = {Cause.FETCH_ACCESS, Cause.FETCH_PAGE_FAULT}
READS = {Cause.LOAD_ACCESS, Cause.LOAD_PAGE_FAULT}
WRITES = {Cause.STORE_ACCESS, Cause.STORE_PAGE_FAULT}

REGIONS = {
    Source.POOL: "memory that was mapped (mmap)",
    Source.HOST: "relay pages",
    Source.SECURE_SHM: "memory that enclaves share",
}
ANY = int(Pte.V)


def describe(enclave: Enclave, cause: int, address: int) -> str:
    """What lay at the address that an access of the enclave concerned; empty if the cause is no access."""
    if cause not in FETCHES | READS | WRITES:
        return ""
    verb = "a jump" if cause in FETCHES else "a load" if cause in READS else "a store"
    return f"{verb}: {_place(enclave, address)}"


def _place(enclave: Enclave, address: int) -> str:
    upper = address >> (layout.ADDRESS_BITS - 1)
    if upper not in (0, (1 << (65 - layout.ADDRESS_BITS)) - 1):
        return f"no program has addresses such as {address:#x}, which is more than 39 bits"
    if enclave.table.reach(address, ANY) is not None:
        return f"{_mapped(enclave, address)}, which does not allow it"
    if address < PAGE_SIZE:
        return f"no memory lies there: it is {address} bytes from a null pointer"
    if stack_bottom(enclave) - BIGGEST_FRAME <= address < layout.STACK_TOP:
        return _below_stack(enclave, address)
    return _beside(enclave, address)


def _mapped(enclave: Enclave, address: int) -> str:
    """What memory of the enclave an address is in."""
    if address < layout.HEAP_BASE:
        reach = enclave.table.reach
        code, data = reach(address, int(Pte.X)) is not None, reach(address, int(Pte.W)) is not None
        return f"the program's {'code' if code else 'data' if data else 'constants'}"
    if layout.HEAP_BASE <= address < enclave.heap_top:
        return "the heap"
    region = next((each for each in enclave.regions if each.start <= address < each.end), None)
    if region is not None:
        return REGIONS[region.source]
    if address >= layout.KERNEL_BUFFER:
        return "the kernel buffer"
    return "the stack" if address < layout.STACK_TOP else "the host's shared memory"


def _below_stack(enclave: Enclave, address: int) -> str:
    bottom = stack_bottom(enclave)
    size = layout.STACK_TOP - bottom
    return f"{bottom - address} bytes below the stack of {size} bytes, which is too small: --stack-size"


def stack_bottom(enclave: Enclave) -> int:
    """The lowest address of the stack: its pages adjoin, so it is looked for by halves."""
    first, last = 0, (layout.STACK_TOP - layout.MMAP_TOP) // PAGE_SIZE
    while first < last:
        middle = (first + last + 1) // 2
        if enclave.table.reach(layout.STACK_TOP - middle * PAGE_SIZE, ANY) is None:
            last = middle - 1
        else:
            first = middle
    return layout.STACK_TOP - first * PAGE_SIZE


def _beside(enclave: Enclave, address: int) -> str:
    """Where it is from the nearest memory of the enclave below or above."""
    ends = [(enclave.heap_top, f"the heap of {enclave.heap_pages * PAGE_SIZE} bytes")]
    ends += [(each.end, f"{REGIONS[each.source]}, {each.size} bytes") for each in enclave.regions]
    below = max((each for each in ends if each[0] <= address), default=None)
    if below is not None and address - below[0] < NEAR:
        return f"no memory lies there: {address - below[0]} bytes behind the end of {below[1]}"
    above = min((each for each in enclave.regions if address < each.start), default=None)
    if above is not None and above.start - address < NEAR:
        return f"no memory lies there: {above.start - address} bytes before {REGIONS[above.source]}"
    return "no memory lies there, nor near it"
