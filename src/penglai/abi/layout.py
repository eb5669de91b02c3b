"""The address space of an enclave (Sv39, user pages).

text, rodata, data, bss    up from   0x0000_1000
heap (sbrk)                up from  0x10_0000_0000
mmap                       down from 0x30_0000_0000
stack                      below    0x38_0000_0000
relay pages                up from  0x38_0000_0000
host shared memory         up from  0x39_0000_0000
kernel buffer              one page at 0xffff_ffe0_0000_0000
"""

TEXT_BASE = 0x1000
HEAP_BASE = 0x10_0000_0000
MMAP_TOP = 0x30_0000_0000
STACK_TOP = 0x38_0000_0000
RELAY_BASE = 0x38_0000_0000
SHARED_BASE = 0x39_0000_0000
KERNEL_BUFFER = 0xFFFF_FFE0_0000_0000

ADDRESS_BITS = 39
"""Bits of a virtual address that Sv39 translates."""

DEFAULT_STACK_SIZE = 64 * 1024
"""Bytes of stack that an enclave gets unless its creator says otherwise."""

NAME_BYTES = 16
"""Bytes of a name field: at most 15 characters and a NUL."""
