"""Servers, and what passes between them and their callers."""

from tests.compat.fact import DIES, Fact, Relied

SECTION = "Servers"
SHM = 0x39_0000_0000
RELAY = 0x38_0000_0000
MINUS_ONE = (1 << 64) - 1
MINUS_TWO = (1 << 64) - 2
ECHO = {"echo": "return x[10] + 1;"}

FACTS = (
    Fact(
        "call",
        SECTION,
        "96: 0, and resp_val is the server's",
        42,
        'return call(acquire("echo"), 41, 0, 0) ? 0 : page.arg.resp_val;',
        servers=ECHO,
    ),
    Fact(
        "server without pages",
        SECTION,
        "a1 and a2 are 0, a0 is req_arg",
        9,
        'call(acquire("look"), 9, 0, 0); return page.arg.resp_val;',
        servers={"look": "return x[10] | x[11] | x[12];"},
    ),
    Fact(
        "server's registers",
        SECTION,
        "sp is 0x38_0000_0000, and all but sp and a0 to a4 are 0",
        RELAY,
        'call(acquire("look"), 9, 0, 0); return page.arg.resp_val;',
        servers={
            "look": "u64 all = x[2]; for (int n = 1; n < 32; "
            "n++) if (n != 2 && !(n >= 10 && n <= 14)) all |= x[n];"
            "return all;"
        },
    ),
    Fact(
        "server's shared memory",
        SECTION,
        "a3 and a4 have address and size of the server's own",
        SHM + 8192,
        'call(acquire("look"), 9, 0, 0); return page.arg.resp_val;',
        servers={"look": "return x[13] + x[14];"},
        shared=8192,
    ),
    Fact(
        "server's pages",
        SECTION,
        "a1 has the address of the caller's pages, a2 their size, and what is written there comes back",
        8192 + 5,
        'u64 at = map(0, 2); *(volatile u64 *)at = 4; call(acquire("add"), 0, at, 2 * PAGE);'
        "return page.arg.resp_val + *(volatile u64 *)page.arg.req_vaddr;",
        servers={"add": "(*(u64 *)x[11])++; return x[12];"},
    ),
    Fact(
        "server's memory",
        SECTION,
        "stays from call to call: data, heap and mappings",
        3 * 111,
        'u64 handle = acquire("count"); for (int n = 0; n < 3; n++) call(handle, 0, 0, 0); '
        "return page.arg.resp_val;",
        servers={
            "count": "static u64 calls, at; u64 *heap = (u64 *)0x1000000000UL;"
            "if (!at) { at = map(0, 1); ocall(4, PAGE, 0); *(u64 *)at = *heap = 0; }"
            "calls++; (*(u64 *)at)++; (*heap)++; return calls + 10 * *(u64 *)at + 100 * *heap;"
        },
    ),
    Fact(
        "pages given back",
        SECTION,
        "are at the same address again, at every call: servers keep pointers to them",
        1,
        'u64 at = map(0, 2), good = 1, handle = acquire("echo"); for (int n = 0; n < 3; n++) {'
        "good &= !call(handle, 0, at, 2 * PAGE) && page.arg.req_vaddr == at && page.arg.req_size == 2 * PAGE;"
        "*(volatile u64 *)at = n; } return good;",
        servers=ECHO,
    ),
    Fact(
        "pages kept",
        SECTION,
        "pages that the answer does not name stay the server's, and the caller's req_vaddr is 0",
        0,
        'u64 handle = acquire("keep"), at = map(0, 1); *(volatile u64 *)at = 77; call(handle, 0, at, PAGE);'
        "u64 left = page.arg.req_vaddr; return left || call(handle, 1, 0, 0) || page.arg.resp_val != 77;",
        servers={
            "keep": "static u64 kept; if (!x[10]) { kept = x[11]; answer(0, 0, 0, 0, 0); "
            "} return *(u64 *)kept;"
        },
        native=1,
    ),
    Fact(
        "an answer that is not filled in",
        SECTION,
        "resp_vaddr and resp_size that name no region count as 0, and the answer arrives",
        5,
        'call(acquire("sloppy"), 0, 0, 0); '
        "return page.arg.resp_vaddr | page.arg.resp_size | page.arg.resp_val;",
        servers={"sloppy": "answer(5, x[11], x[12], -135, 0x1234567); return 1;"},
    ),
    Fact(
        "pages returned",
        SECTION,
        "resp_vaddr and resp_size have the server's pages",
        66 + 4096,
        'call(acquire("give"), 0, 0, 0); return *(volatile u64 *)page.arg.resp_vaddr + page.arg.resp_size;',
        servers={
            "give": "u64 at = map(0, 1); *(volatile u64 *)at = 66; answer(0, 0, 0, at, PAGE); return 1;"
        },
    ),
    Fact(
        "relay pages lent",
        SECTION,
        "they are at the same address in the server",
        RELAY + 12,
        'call(acquire("look"), 0, RELAY, PAGE); return page.arg.resp_val + *(volatile u64 *)RELAY;',
        servers={"look": "*(volatile u64 *)x[11] = 12; return x[11];"},
        relay=4096,
    ),
    Fact(
        "request not filled in",
        SECTION,
        "only req_arg, req_vaddr and req_size of the call_arg are read",
        42,
        'return call(acquire("echo"), 41, 0, 0) ? 0 : page.arg.resp_val;',
        servers=ECHO,
    ),
    Fact(
        "a server that calls itself",
        SECTION,
        "-2: it is busy",
        MINUS_TWO,
        'call(acquire("self"), 0, 0, 0); return page.arg.resp_val;',
        servers={"self": 'return call(acquire("self"), 0, 0, 0);'},
    ),
    Fact(
        "servers call servers",
        SECTION,
        "as a file server calls its block server",
        43,
        'call(acquire("upper"), 41, 0, 0); return page.arg.resp_val;',
        servers={
            "upper": 'u64 n = x[10]; call(acquire("echo"), n, 0, 0); return page.arg.resp_val + 1;',
            **ECHO,
        },
    ),
    Fact(
        "text of a server",
        SECTION,
        "is written by its kernel buffer",
        1,
        'call(acquire("talk"), 0, 0, 0); return page.arg.resp_val;',
        servers={"talk": 'say("spoken\\n"); return 1;'},
    ),
    Fact(
        "exit of a server",
        SECTION,
        "refused with -1; the server goes on",
        MINUS_ONE,
        'call(acquire("exit"), 0, 0, 0); return page.arg.resp_val;',
        Relied.NO,
        servers={"exit": "return penglai(99, 1, 0, 0);"},
        native=0x5A5A5A5A5A5A5A5A,
    ),
    Fact(
        "fault of a server",
        SECTION,
        "its caller ends",
        DIES,
        'return call(acquire("fault"), 0, 0, 0);',
        Relied.NO,
        servers={"fault": "return *(volatile u64 *)0x2000000000UL;"},
        native=MINUS_ONE,
    ),
)
