"""How an enclave begins, and what an ecall leaves alone."""

from tests.compat.fact import Fact, Relied

SECTION = "Entry and registers"
RELAY = 0x38_0000_0000
SHM = 0x39_0000_0000
PAGE = 4096

FACTS = (
    Fact(
        "registers",
        SECTION,
        "every register but sp and a0 to a4 is 0, gp and tp too",
        0,
        "u64 all = 0; for (int n = 1; n < 32; n++) if (n != 2 && !(n >= 10 && n <= 14)) all |= x[n];"
        "return all;",
    ),
    Fact("stack pointer", SECTION, "sp is 0x38_0000_0000 exactly", RELAY, "return x[2];"),
    Fact(
        "shared memory",
        SECTION,
        "a0, a1: address and size of the host's shared memory",
        SHM + 2 * PAGE,
        "return x[10] + x[11];",
        shared=2 * PAGE,
    ),
    Fact(
        "no memory given", SECTION, "a0, a1, a3, a4 are 0 without", 0, "return x[10] | x[11] | x[13] | x[14];"
    ),
    Fact(
        "relay pages",
        SECTION,
        "a3, a4: 0x38_0000_0000 and the size of the relay pages",
        RELAY + 3 * PAGE,
        "return x[13] + x[14];",
        relay=3 * PAGE,
    ),
    Fact(
        "zero memory",
        SECTION,
        "what the image has no bytes for is zero, and so is the kernel buffer",
        0,
        "static u64 zeros[2000]; u64 all = 0; for (int n = 0; n < 2000; n++) all |= zeros[n];"
        "for (int n = 0; n < 4096; n++) all |= KBUFFER[n]; return all;",
    ),
    Fact(
        "after an ecall",
        SECTION,
        "only a0 changes: write",
        123,
        "KBUFFER[0] = 0; struct after r = raw(0x100101, 98, 3, 101, 102, 103);"
        "return r.a[1] == 101 && r.a[2] == 102 && r.a[3] == 103 && r.a[4] == 104 && r.a[5] == 105 &&"
        "r.a[6] == 0x100101 && r.a[7] == 98 ? 123 : 0;",
    ),
    Fact(
        "after relay page return",
        SECTION,
        "a0 is 0, a1 and a2 are as before, the next pages are at 0x38_0000_0000, with what the host put "
        "there",
        7,
        "*(u64 *)RELAY = 7; struct after r = raw(0x100101, 98, 7, 101, 102, 103);"
        "return r.a[0] == 0 && r.a[1] == 101 && r.a[2] == 102 ? *(u64 *)RELAY : 0;",
        relay=2 * PAGE,
    ),
    Fact(
        "relay pages again",
        SECTION,
        "running with rerun_reason left at 1 works as long as the enclave lives",
        3,
        "u64 rounds = 0; while (rounds < 3) { (*(volatile u64 *)RELAY)++; ocall(7, 0, 0); rounds++; }"
        "return *(volatile u64 *)RELAY;",
        relay=PAGE,
    ),
    Fact(
        "time",
        SECTION,
        "rdtime and rdcycle work",
        1,
        'u64 one, two; __asm__ volatile("rdtime %0\\n rdcycle %1" : "=r"(one), "=r"(two));'
        "return one != 0 && two != 0;",
    ),
    Fact(
        "value",
        SECTION,
        "the host gets all 64 bits of the value",
        0xFEDC_BA98_7654_3210,
        "return 0xfedcba9876543210UL;",
    ),
    Fact(
        "floating point",
        SECTION,
        "off: the first such instruction ends the enclave",
        "dies",
        '__asm__ volatile(".option push\\n.option arch, +d\\nfmv.d.x ft0, zero\\n.option pop"); return 1;',
        Relied.NO,
        native=1,
    ),
)
