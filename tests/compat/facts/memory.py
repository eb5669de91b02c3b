"""Memory that an enclave asks for."""

from tests.compat.fact import DIES, Fact, Relied

SECTION = "Memory"
MINUS_ONE = (1 << 64) - 1

FACTS = (
    Fact(
        "mmap",
        SECTION,
        "ocall 1: the address of pages below 0x30_0000_0000 that can be written",
        1,
        "u64 at = map(0, 3); for (int n = 0; n < 3; n++) ((volatile u64 *)at)[n * 512] = n;"
        "return at && at % PAGE == 0 && at + 3 * PAGE <= 0x3000000000UL;",
    ),
    Fact(
        "mmap at an address",
        SECTION,
        "that address, if it is free",
        0x20_0000_0000,
        "u64 at = map(0x2000000000UL, 1); *(volatile u64 *)at = 1; return at;",
    ),
    Fact(
        "mmap at a taken address",
        SECTION,
        "another address, below the lowest region",
        1,
        "u64 at = map(0x2000000000UL, 1), next = map(at, 1); return next < at;",
        Relied.NO,
        native=0,
    ),
    Fact(
        "mmap more",
        SECTION,
        "of n pages maps 2^k - 1, all accessible",
        7,
        "u64 at = map(0, 4); ((volatile char *)at)[6 * PAGE] = 7; return ((volatile char *)at)[6 * PAGE];",
        Relied.NO,
        native=DIES,
    ),
    Fact(
        "mmap nothing",
        SECTION,
        "of less than a page: the address 0x30_0000_0000, and nothing is mapped",
        0x30_0000_0000,
        "return ocall(1, 0, 100);",
        Relied.NO,
        native=0x30_0000_0000 - 4096,
    ),
    Fact(
        "255 MiB",
        SECTION,
        "can be mapped on a machine of 1 GiB",
        1,
        "u64 at = map(0, 255 * 256); ((volatile char *)at)[255 * 256 * PAGE - 1] = 1; "
        "return at != MINUS_ONE;",
    ),
    Fact("unmap", SECTION, "ocall 2 of a whole region: 0", 0, "return ocall(2, map(0, 3), 3 * PAGE);"),
    Fact(
        "unmap nothing",
        SECTION,
        "of what is no region: -1",
        MINUS_ONE,
        "return ocall(2, 0x2000000000UL, PAGE);",
    ),
    Fact(
        "unmap a part",
        SECTION,
        "removes all of the region",
        DIES,
        "u64 at = map(0, 3); ocall(2, at, PAGE); return ((volatile char *)at)[PAGE];",
        Relied.NO,
        native=0,
    ),
    Fact(
        "mmap again",
        SECTION,
        "what was unmapped can be mapped again, any number of times",
        1000,
        "u64 good = 0; for (int n = 0; n < 1000; n++) { u64 at = map(0, 3); *(volatile u64 *)at = n;"
        "good += !ocall(2, at, 3 * PAGE); } return good;",
    ),
    Fact("sbrk of 0", SECTION, "ocall 4: the top of the heap", 0x10_0000_0000, "return ocall(4, 0, 0);"),
    Fact(
        "sbrk up",
        SECTION,
        "the new top, and all below it can be written",
        1,
        "u64 top = ocall(4, 0, 0), next = ocall(4, 2 * PAGE, 0); ((volatile char *)next)[-1] = 1;"
        "return next >= top + 2 * PAGE && ocall(4, 0, 0) == next;",
    ),
    Fact(
        "sbrk rounding",
        SECTION,
        "by n pages moves the top by 2^k - 1",
        3,
        "return (ocall(4, 2 * PAGE, 0) - 0x1000000000UL) / PAGE;",
        Relied.NO,
        native=2,
    ),
    Fact(
        "sbrk down",
        SECTION,
        "the real top, by which the caller goes on",
        1,
        "u64 top = ocall(4, 3 * PAGE, 0); u64 now = ocall(4, -3 * PAGE, 0);"
        "return now <= top && now == ocall(4, 0, 0);",
    ),
    Fact(
        "sbrk of odd sizes",
        SECTION,
        "-1",
        MINUS_ONE,
        "ocall(4, PAGE, 0); return ocall(4, -100, 0);",
    ),
    Fact(
        "split relay pages",
        SECTION,
        "92 cuts a region of relay pages in two",
        0,
        "return penglai(92, RELAY, 2 * PAGE, RELAY + PAGE);",
        relay=2 * 4096,
    ),
    Fact(
        "split other memory",
        SECTION,
        "-1 for regions of mmap",
        MINUS_ONE,
        "u64 at = map(0, 3); return penglai(92, at, 3 * PAGE, at + PAGE);",
        Relied.NO,
        native=0,
    ),
)
