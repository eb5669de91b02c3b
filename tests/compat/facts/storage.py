"""Sectors, and the protocols of file and block servers as far as they are the monitor's."""

from tests.compat.fact import Fact

SECTION = "Storage"
MINUS_ONE = (1 << 64) - 1
SHARED = {"shared": 8192}

FACTS = (
    Fact(
        "sectors before init",
        SECTION,
        "ocalls 5 and 6: -1",
        MINUS_ONE,
        "return ocall(5, 3, 0) & ocall(6, 3, 0);",
        shared=8192,
    ),
    Fact(
        "sectors",
        SECTION,
        "4,096 bytes pass at the start of the named shared memory; the result is 0",
        12,
        "volatile u64 *at = (volatile u64 *)x[10]; at[0] = 5; at[511] = 7; at[512] = 9; "
        "u64 bad = ocall(6, 77, 0);"
        "at[0] = at[511] = 0; bad |= ocall(5, 77, 0); return bad || at[512] != 9 ? 0 : at[0] + at[511];",
        shared=8192,
        disk=True,
    ),
    Fact(
        "sectors never written",
        SECTION,
        "are zeros, also behind the end of the file",
        0,
        "volatile u64 *at = (volatile u64 *)x[10]; u64 all = 0; for (int n = 0; n < 512; n++) at[n] = -1;"
        "all |= ocall(5, 5100, 0); for (int n = 0; n < 512; n++) all |= at[n]; return all;",
        shared=4096,
        disk=True,
    ),
    Fact(
        "the file grows",
        SECTION,
        "writing block 5000 makes it 20 MB",
        5,
        "volatile u64 *at = (volatile u64 *)x[10]; at[0] = 5; u64 bad = ocall(6, 5000, 0); at[0] = 0;"
        "bad |= ocall(5, 5000, 0); return bad ? 0 : at[0];",
        shared=4096,
        disk=True,
    ),
    Fact(
        "sectors of a server",
        SECTION,
        "a block server moves them by its own a3, while its callers' memory is elsewhere",
        44,
        'u64 handle = acquire("persistency"), at = map(0, 2); *(volatile u64 *)at = 44; '
        "call(handle, 6, at, 2 * PAGE);"
        "*(volatile u64 *)at = 0; call(handle, 5, at, 2 * PAGE); return *(volatile u64 *)at;",
        servers={
            "persistency": "volatile u64 *disk = (volatile u64 *)x[13], *data = (volatile u64 *)x[11];"
            "if (x[10] == 6) disk[0] = data[0]; u64 bad = ocall(x[10], 9, 0);"
            "if (x[10] == 5) data[0] = disk[0]; return bad;"
        },
        shared=131072,
        disk=True,
    ),
    Fact(
        "a client of files",
        SECTION,
        "one region of 4,096 bytes carries every request; "
        "the result is resp_val, and the region is taken from "
        "req_vaddr again",
        3 + 8,
        'u64 handle = acquire("filesystem"), region = map(0, 1); call(handle, 0, region, PAGE); '
        "u64 fd = page.arg.resp_val;"
        "region = page.arg.req_vaddr; ((u32 *)region)[0] = fd; ((u32 *)region)[1] = 8; "
        "call(handle, 3, region, PAGE);"
        "return fd + page.arg.resp_val;",
        servers={"filesystem": "return x[10] == 0 ? 3 : ((u32 *)x[11])[1];"},
    ),
)
