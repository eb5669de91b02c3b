"""C programs that nobody wrote to be enclaves: Lua, and zlib with its own tests."""

import functools
import zlib
from pathlib import Path

import pytest
from tests.support.programs import compiled_sources
from tests.support.sources import debian_source
from tests.support.waiting import PATIENCE

import penglai

STACK = 256 << 10

LUA_MAIN = """
#define main lua_main
#include "lua.c"
#undef main
#include "eapp.h"

static char script[] = {
#include "script.inc"
0};

int EAPP_ENTRY main(void)
{
    char *arguments[] = {"lua", "-e", script, NULL};
    return lua_main(3, arguments);
}
"""


@functools.cache
def lua(script: str) -> Path:
    source = debian_source("lua5.4") / "src"
    parts = [path for path in sorted(source.glob("l*.c")) if path.name not in ("lua.c", "luac.c")]
    texts = {"main.c": LUA_MAIN, "script.inc": "".join(f"{byte}," for byte in script.encode())}
    return compiled_sources(texts, parts, "-O2", f"-I{source}")


def run(image: Path) -> tuple[int | None, str]:
    with penglai.Machine("128M") as machine:
        result = machine.create(image, stack_size=STACK).run(PATIENCE)
        return result.value, machine.console.text


SCRIPTS = {
    "arithmetic": (
        "print(1 / 3, 7 // 2, 2^53, 0x7fffffffffffffff + 1, math.sqrt(2))",
        "0.33333333333333\t3\t9.007199254741e+15\t-9223372036854775808\t1.4142135623731\n",
    ),
    "tables": (
        (
            "local t = {} for i = 1, 100000 do t[i] = i * i end table.sort(t, function(a, b) return a "
            "> b end) print(#t, t[1], t[100000])"
        ),
        "100000\t10000000000\t1\n",
    ),
    "strings": (
        (
            "print(('%5.2f|%-4s|%q'):format(3.14159, 'ab', 'x\\ny')) print((('hello world'):gsub('o', "
            "'0')), ('k=v'):match('(%w)=(%w)'))"
        ),
        ' 3.14|ab  |"x\\\ny"\nhell0 w0rld\tk\tv\n',
    ),
    "errors": (
        ("print(pcall(error, 'thrown')) print(select(2, pcall(function() return nil + 1 end)) ~= nil)"),
        "false\tthrown\ntrue\n",
    ),
    "coroutines": (
        (
            "local c = coroutine.wrap(function() for i = 1, 3 do coroutine.yield(i) end end) "
            "print(c(), c(), c())"
        ),
        "1\t2\t3\n",
    ),
    "garbage": (
        (
            "for i = 1, 200000 do local t = {i, tostring(i)} end collectgarbage() "
            "print(collectgarbage('count') < 2000)"
        ),
        "true\n",
    ),
    "time": (
        "print(os.time() > 1600000000, os.clock() >= 0, os.date('!%Y', 0))",
        "true\ttrue\t1970\n",
    ),
    "recursion": (
        (
            "local function f(n) return n == 0 and 0 or 1 + f(n - 1) end print(f(10000)) "
            "print(pcall(string.rep, 'x', -1))"
        ),
        "10000\ntrue\t\n",
    ),
}


@pytest.mark.source("lua5.4")
@pytest.mark.parametrize("name", SCRIPTS)
def test_lua_runs_scripts(name: str):
    script, expected = SCRIPTS[name]
    assert run(lua(script)) == (0, expected)


@pytest.mark.source("lua5.4")
def test_lua_tells_of_errors_and_ends_with_one():
    value, text = run(lua("error('on purpose')"))
    assert value == 1
    assert "on purpose" in text
    assert "stack traceback" in text


@pytest.mark.source("lua5.4")
def test_the_value_that_a_script_exits_with_is_the_hosts():
    assert run(lua("io.write('no newline') os.exit(42)")) == (42, "no newline")


@pytest.mark.source("zlib")
def test_zlibs_own_test_of_every_path_of_inflate():
    tree = debian_source("zlib")
    parts = [path for path in sorted(tree.glob("*.c")) if not path.name.startswith("gz")]
    image = compiled_sources({}, [tree / "test" / "infcover.c", *parts], "-O2", f"-I{tree}")
    value, text = run(image)
    assert value == 0, text
    assert "contiguous and wrap around window" in text


@pytest.mark.source("zlib")
def test_zlib_packs_and_unpacks_as_python_does():
    tree = debian_source("zlib")
    parts = [path for path in sorted(tree.glob("*.c")) if not path.name.startswith("gz")]
    text = r"""
    #include <string.h>
    #include <zlib.h>
    #include "eapp.h"
    #include "print.h"

    static unsigned char plain[200000], packed[210000], again[200000];

    int EAPP_ENTRY main(void)
    {
        for (unsigned i = 0; i < sizeof plain; i++)
            plain[i] = (unsigned char)(i * i >> 7);
        uLongf size = sizeof packed, length = sizeof again;
        if (compress2(packed, &size, plain, sizeof plain, 9)) return 1;
        if (uncompress(again, &length, packed, size)) return 2;
        if (length != sizeof plain || memcmp(plain, again, length)) return 3;
        for (uLongf i = 0; i < size; i++)
            eapp_print("%02x", packed[i]);
        return 0;
    }
    """
    value, printed = run(compiled_sources({"main.c": text}, parts, "-O2", f"-I{tree}"))
    assert value == 0
    plain = bytes((i * i & 0xFFFFFFFF) >> 7 & 0xFF for i in range(200000))
    assert zlib.decompress(bytes.fromhex(printed)) == plain
