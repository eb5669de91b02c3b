"""Programs that are not, or not only, C."""

from pathlib import Path

import pytest
from tests.support.waiting import PATIENCE

import penglai
from penglai.sdk.build import build

CXX = r"""
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>
#include "attest.h"
#include "eapp.h"
#include "ocall.h"
#include "print.h"

extern "C" int twice(int);

struct Counted {
    static int alive;
    Counted() { alive++; }
    ~Counted() { alive--; }
};
int Counted::alive;
static std::string made = "before main";

int thrower(int depth)
{
    Counted counted;
    if (!depth)
        throw std::runtime_error("thrown");
    return thrower(depth - 1) + 1;
}

int EAPP_ENTRY main()
{
    std::map<std::string, int> ages{{"b", 2}, {"a", 1}};
    std::vector<std::unique_ptr<int>> numbers;
    for (int i = 0; i < 1000; i++)
        numbers.push_back(std::make_unique<int>(i));
    int sum = 0;
    std::for_each(numbers.begin(), numbers.end(), [&](const auto &number) { sum += *number; });
    try {
        thrower(5);
    } catch (const std::exception &error) {
        std::cout << made << " " << error.what() << " " << Counted::alive << " "
                  << ages.begin()->first << std::endl;
    }
    EAPP_RETURN(sum + twice(21));
}
"""

ZIG = """
const std = @import("std");
export fn twice(number: c_int) c_int {
    return number * 2;
}
"""


@pytest.mark.parametrize("level", ["-O0", "-O2"])
def test_cpp_with_a_part_in_c_and_one_in_zig(machine: penglai.Machine, tmp_path: Path, level: str):
    (tmp_path / "main.cpp").write_text(CXX)
    (tmp_path / "part.zig").write_text(ZIG)
    (tmp_path / "other.c").write_text("int unused(int class) { return class; }\n")  # no C++
    made = build([tmp_path / "main.cpp", tmp_path / "part.zig", tmp_path / "other.c"], flags=[level])
    assert machine.create(made).run(PATIENCE).value == 499500 + 42
    assert machine.console.text == "before main thrown 0 a\n"


def test_zig_with_its_own_main_and_allocator(machine: penglai.Machine, tmp_path: Path):
    (tmp_path / "p.zig").write_text(
        """
        const std = @import("std");
        extern fn eapp_print(format: [*:0]const u8, ...) c_int;
        pub fn main() u8 {
            const text = std.fmt.allocPrint(std.heap.c_allocator, "{d} {s}", .{ 1.5, "zig" }) catch return 1;
            _ = eapp_print("%.*s\\n", @as(c_int, @intCast(text.len)), text.ptr);
            return 33;
        }
        """
    )
    assert machine.create(build(tmp_path / "p.zig")).run(PATIENCE).value == 33
    assert machine.console.text == "1.5 zig\n"


def test_the_messages_of_zig_are_shown(tmp_path: Path):
    (tmp_path / "p.zig").write_text("pub fn main() u8 { return nothing; }\n")
    with pytest.raises(penglai.ToolchainError, match="nothing"):
        build(tmp_path / "p.zig")
    assert [path.name for path in tmp_path.iterdir()] == ["p.zig"]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("cxx", 5050, ["made before main", "there is no number 100", "destroyed after main"]),
        ("zigzag", None, ["/\\/\\/\\"]),
        ("libc", 7, ["1.414213562373095", "the year is known", "exit() does"]),
        ("mem", 0, ["every byte was as it should be"]),
        ("relay-page", 0, ["round 1: no pages"]),
        ("caller", 2**64 - 1, ["no server test-server"]),
    ],
)
def test_the_demos_do_what_they_say(machine: penglai.Machine, name: str, value, words: list[str]):
    result = machine.create(name).run(PATIENCE)
    assert result.reason is penglai.Reason.EXITED
    assert value is None or result.value == value
    for word in words:
        assert word in machine.console.text
