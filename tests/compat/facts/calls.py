"""Ecalls that have a result at once."""

from tests.compat.fact import DIES, Fact, Relied

SECTION = "Ecalls"
MINUS_ONE = (1 << 64) - 1
MINUS_TWO = (1 << 64) - 2

FACTS = (
    Fact(
        "foreign ecall 29",
        SECTION,
        "an ecall with another a6 and a7 = 29 has the result 0",
        0,
        "return raw(0, 29, 1, 0x5413, 0, 0).a[0];",
    ),
    Fact(
        "foreign ecall",
        SECTION,
        "one with another a7 ends the enclave",
        DIES,
        "return raw(0, 64, 1, 0, 0, 0).a[0];",
    ),
    Fact(
        "unknown ocall",
        SECTION,
        "-1",
        MINUS_ONE,
        "return ocall(0, 1, 1) & ocall(13, 1, 1) & ocall(99, 1, 1);",
    ),
    Fact(
        "unknown call",
        SECTION,
        "a7 that is none ends the enclave",
        DIES,
        "return penglai(50, 0, 0, 0);",
        Relied.NO,
        native=MINUS_ONE,
    ),
    Fact(
        "write",
        SECTION,
        "the result of ocall 3 is a0 as it was",
        3,
        'say(""); KBUFFER[0] = 0; return ocall(3, 0, 0);',
        Relied.NO,
        native=0,
    ),
    Fact(
        "return uncalled",
        SECTION,
        "95 in a normal enclave: -1",
        MINUS_ONE,
        "return penglai(95, (u64)&page, 0, 0);",
    ),
    Fact("no such server", SECTION, "97: -1", MINUS_ONE, 'return acquire("nobody");'),
    Fact("a handle that is none", SECTION, "96: -1", MINUS_ONE, "return call(4711, 0, 0, 0);"),
    Fact(
        "no argument",
        SECTION,
        "96 with a call_arg that is not mapped: -1",
        MINUS_ONE,
        'return penglai(96, acquire("echo"), 0x2000000000UL, 0);',
        servers={"echo": "return x[10];"},
    ),
    Fact(
        "caller",
        SECTION,
        "91 is 0, in servers as well",
        0,
        'return call(acquire("who"), 0, 0, 0) || page.arg.resp_val;',
        Relied.NO,
        servers={"who": "return penglai(91, 0, 0, 0);"},
        native=1,
    ),
    Fact("report of itself", SECTION, "94 with name 0: 0", 0, "return penglai(94, 0, (u64)&page, 5);"),
    Fact(
        "report of a server",
        SECTION,
        "94 with its name: 0, and the nonce is in it",
        5,
        'acquire("echo"); u64 done = penglai(94, (u64)other.bytes, (u64)&page, 5); '
        "return done ? done : page.words[32];",
        servers={"echo": "return x[10];"},
    ),
    Fact(
        "report refused",
        SECTION,
        "94 with a name or a buffer that is none: -1",
        MINUS_ONE,
        'acquire("nobody"); return penglai(94, (u64)other.bytes, (u64)&page, 5) & penglai(94, 0, '
        "0x2000000000UL, 5);",
    ),
    Fact(
        "key",
        SECTION,
        "88: 0, the same bytes at each call",
        1,
        "u64 done = penglai(88, 0, (u64)&page, 32) | penglai(88, 0, (u64)&other, 32);"
        "for (int n = 0; n < 4; n++) done |= page.words[n] ^ other.words[n]; "
        "return done == 0 && page.words[0];",
    ),
    Fact(
        "key refused",
        SECTION,
        "88 with a buffer that is none: -1",
        MINUS_ONE,
        "return penglai(88, 0, 0x2000000000UL, 32);",
    ),
    Fact(
        "kinds of keys",
        SECTION,
        "kinds 0 and 1 are the same key",
        0,
        "penglai(88, 0, (u64)&page, 32); penglai(88, 1, (u64)&other, 32); u64 mixed = 0;"
        "for (int n = 0; n < 4; n++) mixed |= page.words[n] ^ other.words[n]; return mixed != 0;",
        Relied.NO,
        native=1,
    ),
    Fact(
        "other kinds of keys",
        SECTION,
        "0, and nothing is written",
        0,
        "page.words[0] = 0; return penglai(88, 7, (u64)&page, 32) | page.words[0];",
        Relied.NO,
        native=MINUS_ONE,
    ),
    Fact("getrandom", SECTION, "ocall 8: the number of bytes", 48, "return ocall(8, (u64)&page, 48);"),
    Fact(
        "numbers",
        SECTION,
        "90 is from 0 up: 0 for an enclave that is alone",
        0,
        "return penglai(90, 0, 0, 0) != 0;",
        Relied.NO,
        native=1,
    ),
    Fact("yield", SECTION, "89 kills the machine", DIES, "return penglai(89, 0, 0, 0);", Relied.NO, native=0),
    Fact(
        "a handle of -1",
        SECTION,
        "96 with it kills the machine",
        DIES,
        'return call(acquire("nobody"), 0, 0, 0);',
        Relied.NO,
        native=MINUS_ONE,
    ),
    Fact(
        "secure shared memory",
        SECTION,
        "ocall 9 has the result 0, since the driver knows none",
        0,
        "return ocall(9, 5, 4096);",
        Relied.NO,
        native=5,
    ),
)
