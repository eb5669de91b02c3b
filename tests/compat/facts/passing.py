"""Asynchronous calls."""

from tests.compat.fact import Fact

SECTION = "Asynchronous calls"

FACTS = (
    Fact(
        "asynchronous call",
        SECTION,
        "the next enclave of that name that is run with relay pages of size 0 has the pages, at a3 and a4",
        0x38_0000_0000 + 8192 + 33,
        "*(volatile u64 *)RELAY = 33; volatile struct call_arg *arg = (volatile struct call_arg *)KBUFFER;"
        "arg->req_arg = 0; arg->req_vaddr = RELAY; arg->req_size = 2 * PAGE;"
        'const char *name = "later"; for (int n = 0; n < 6; n++) other.bytes[n] = name[n];'
        "return penglai(93, (u64)other.bytes, (u64)arg, 0);",
        relay=8192,
        then=("later", "return x[13] + x[14] + *(volatile u64 *)x[13];"),
    ),
)
