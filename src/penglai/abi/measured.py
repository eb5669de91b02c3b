"""What is hashed and signed, as whoever verifies a report has to make it (docs/abi.md, sections 4 and 5).

Each begins with 24 bytes that say scheme and purpose: nothing hashed for one is ever taken for another.
"""

import struct

SCHEME = b"penglai-2"

MEASUREMENT_DOMAIN = (SCHEME + b" measurement").ljust(24, b"\0")
REPORT_DOMAIN = (SCHEME + b" report").ljust(24, b"\0")

MEASUREMENT_HEAD = struct.Struct("<24sQQQQ")
"""MEASUREMENT_DOMAIN, kind (EnclaveType), entry point, bytes of stack, number of runs."""

MEASUREMENT_RUN = struct.Struct("<QQQ")
"""Address, number of pages, permissions (Pte's R, W, X, U); the pages follow."""

UPPER_HALF = 0xFFFF_FF80_0000_0000
"""Base to which the 39 bits of a virtual address are added in the measurement."""

SM2_USER_ID = b"1234567812345678"
"""Of every signature (GB/T 32918.2)."""
