"""The servers of files, blocks and protected storage, for clients that speak the original's protocols."""

from tests.compat.fact import Fact

SECTION = "Files"
BLOCKS = "Blocks"
STORAGE = "Protected storage"
MINUS_ONE = (1 << 64) - 1
FILES = ("filesystem", "persistency")
OBJECTS = ("psa_server", *FILES)
USE_FILES = 'use("filesystem", PAGE);'
USE_BLOCKS = 'use("persistency", 2 * PAGE);'
USE_OBJECTS = 'use("psa_server", PAGE);'


def _status(number: int) -> int:
    return number & MINUS_ONE


def _fact(name: str, says: str, expected: int, body: str) -> Fact:
    return Fact(name, SECTION, says, expected, USE_FILES + body, services=FILES, shared=131072, disk=True)


def _block(name: str, says: str, expected: int, body: str) -> Fact:
    return Fact(name, BLOCKS, says, expected, USE_BLOCKS + body, services=FILES[1:], shared=131072, disk=True)


def _object(name: str, says: str, expected: int, body: str) -> Fact:
    return Fact(name, STORAGE, says, expected, USE_OBJECTS + body, services=OBJECTS, shared=131072, disk=True)


FACTS = (
    _fact("open", "0: path and flags; a descriptor of 3 or more", 3, 'return file_open("/a1", 0x42);'),
    _fact(
        "open missing",
        "a negative result",
        1,
        'return (long)file_open("/missing", 0) < 0;',
    ),
    _fact(
        "write and read",
        "3 and 2: the number of bytes; what was read is at the start of the region",
        0x6F6C6C65_00040005,
        'u64 fd = file_open("/a2", 0x42), wrote = file_write(fd, "hello", 5); file_seek(fd, 1, 0);'
        "u64 got = file_read(fd, 100); return (u64)get32(0) << 32 | got << 16 | wrote;",
    ),
    _fact(
        "region",
        "comes back where it was, at every request",
        1,
        'u64 was = region, fd = file_open("/a3", 0x42); file_write(fd, "x", 1); file_close(fd);'
        "return region == was;",
    ),
    _fact(
        "larger regions",
        "carry more than 4,096 bytes: written with 3 pages, read with 3",
        9000,
        'u64 fd = file_open("/a4", 0x42), done = 0; region = map(0, 3); region_size = 3 * PAGE;'
        "put32(0, fd); put32(4, 9000); put32(8 + 8996, 77); done = ask(3); file_seek(fd, 0, 0);"
        "return file_read(fd, 9000) == done && get32(8996) == 77 ? done : 0;",
    ),
    _fact("end of the file", "read: 0", 0, 'return file_read(file_open("/a5", 0x42), 10);'),
    _fact(
        "stat",
        "4: the size of a path's file; 0 if there is none",
        5,
        'file_write(file_open("/a6", 0x42), "hello", 5); return file_size("/a6") + file_size("/missing");',
    ),
    _fact(
        "lseek",
        "5: the new offset, by all three kinds",
        1 << 32 | 3 << 16 | 5,
        'u64 fd = file_open("/a7", 0x42); file_write(fd, "hello", 5); u64 one = file_seek(fd, 1, 0);'
        "u64 two = file_seek(fd, 2, 1); return one << 32 | two << 16 | file_seek(fd, 0, 2);",
    ),
    _fact(
        "truncate",
        "7: 0, and the file is empty",
        0,
        'u64 fd = file_open("/a8", 0x42); file_write(fd, "hello", 5); put32(0, fd);'
        'return ask(7) | file_size("/a8");',
    ),
    _fact(
        "unlink",
        "8: 0, and the file is gone",
        1,
        'file_write(file_open("/a9", 0x42), "hello", 5);'
        'return path_call(8, "/a9") == 0 && file_size("/a9") == 0 && (long)file_open("/a9", 0) < 0;',
    ),
    _fact(
        "mkdir",
        "9: 0, and files can be in it; negative if it is there",
        1,
        'u64 made = path_call(9, "/d1"); u64 fd = file_open("/d1/x", 0x42);'
        'return made == 0 && (long)fd >= 3 && (long)path_call(9, "/d1") < 0;',
    ),
    _fact(
        "exclusive and truncating",
        "are ignored: a file that is there is opened, and its size stays",
        5,
        'u64 fd = file_open("/b1", 0x42); file_write(fd, "hello", 5); file_close(fd);'
        'return (long)file_open("/b1", 0x2c2) < 0 ? 0 : file_size("/b1");',
    ),
    _fact(
        "appending",
        "the offset starts at the end",
        7,
        'u64 fd = file_open("/b2", 0x42); file_write(fd, "hello", 5); file_close(fd);'
        'file_write(file_open("/b2", 0x442), "12", 2); return file_size("/b2");',
    ),
    _fact(
        "the wrong way",
        "writing to what is open for reading, and reading the other, is negative",
        1,
        'file_close(file_open("/b3", 0x42)); long wrote = file_write(file_open("/b3", 0), "x", 1);'
        'return wrote < 0 && (long)file_read(file_open("/b3", 1), 1) < 0;',
    ),
    _fact(
        "100 open files",
        "have the descriptors 3 to 102",
        102,
        'u64 last = 0; for (int n = 0; n < 100; n++) last = file_open("/b4", 0x42); return last;',
    ),
    _fact(
        "names of 62 bytes",
        "can be",
        3,
        'return file_open("/01234567890123456789012345678901234567890123456789012345678901", 0x42);',
    ),
    _block(
        "a block",
        "dirty: it is written, and no longer dirty; neither: it is read",
        44,
        "put32(48, 44); u64 bad = block(4, 500); bad |= get32(0) & 4; put32(48, 0); bad |= block(0, 500);"
        "return bad ? 0 : get32(48);",
    ),
    _block("a valid block", "valid and not dirty: -1", MINUS_ONE, "return (long)(int)block(2, 500);"),
    _block(
        "a block's region",
        "comes back where it was: the file server keeps pointers into it",
        1,
        "u64 was = region; block(0, 7); block(0, 8); return region == was;",
    ),
    _block("a block beyond", "1000 and more: -1", MINUS_ONE, "return (long)(int)block(0, 1000);"),
    _block(
        "a new disk",
        "begins with a superblock in block 1: 1000 blocks, 200 inodes, 30 blocks of log",
        0x10203040_03E800C8,
        "block(0, 1); return (u64)get32(48) << 32 | get32(52) << 16 | (get32(64) == 30 ? get32(60) : 0);",
    ),
    _block(
        "a new disk's root",
        "is inode 1 in block 32: a directory with two entries",
        1 << 32 | 2,
        "block(0, 32); u64 type = get32(48 + 64) & 0xffff, at = get32(48 + 64 + 12); block(0, at);"
        "return type << 32 | ((get32(48) & 0xffff) == 1) + ((get32(48 + 64) & 0xffff) == 1);",
    ),
    _object(
        "set and get",
        "0: what was stored comes back, as many bytes as there are, and their number is in the table",
        0x6F6C6C65_00000004,
        'if (psa_set(7, "hello", 5, 0) || psa_get(7, 1, 100)) return 0;'
        "return (u64)get32(out_offset) << 32 | get64(80);",
    ),
    _object(
        "get less",
        "as many bytes as are wanted",
        2,
        'if (psa_set(8, "hello", 5, 0) || psa_get(8, 1, 2)) return 0; return get64(80);',
    ),
    _object(
        "get_info",
        "24 bytes: the size at 8, the flags at 16",
        5 << 32 | 6,
        'if (psa_set(9, "hello", 5, 6) || psa_one(2, 9, 1, 24)) return 0;'
        "return get64(out_offset + 8) << 32 | get32(out_offset + 16);",
    ),
    _object(
        "remove",
        "0, and the object is gone",
        _status(-140),
        'psa_set(10, "hello", 5, 0); return psa_one(3, 10, 0, 0) ? 0 : psa_get(10, 0, 5);',
    ),
    _object("get_support", "0", 0, "u64 bad = psa(6, 0, 0, 1, 4); return bad | get32(out_offset);"),
    _object("no such object", "-140, in resp_val", _status(-140), "return psa_get(4711, 0, 5);"),
    _object("object 0", "-135", _status(-135), 'return psa_set(0, "hello", 5, 0);'),
    _object(
        "behind the end",
        "an offset that is greater than the size: -135",
        _status(-135),
        'psa_set(11, "hello", 5, 0); return psa_get(11, 6, 1);',
    ),
    _object("flags that there are not", "-134", _status(-134), 'return psa_set(12, "hello", 5, 8);'),
    _object(
        "write once",
        "-133 for what would change it",
        _status(-133),
        'psa_set(13, "hello", 5, 1); u64 again = psa_set(13, "other", 5, 0);'
        "return again == psa_one(3, 13, 0, 0) ? again : 0;",
    ),
    _object("wrong counts", "-129", _status(-129), "return psa_one(0, 14, 0, 0);"),
    _object(
        "ten objects",
        "can be, of 988 bytes each",
        0,
        "u64 bad = 0; for (u64 n = 100; n < 110; n++) bad |= psa_set(n, (const char *)SHM, 988, 0);"
        "return bad;",
    ),
)
