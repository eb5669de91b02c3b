// Zig: its standard library, an allocator, and the calls of eapp.h.
const std = @import("std");

extern fn eapp_print(format: [*:0]const u8, ...) c_int;
extern fn eapp_exit(value: c_ulong) noreturn;

pub export fn main() c_int {
    const allocator = std.heap.c_allocator;
    const line = allocator.alloc(u8, 16) catch return 1;
    defer allocator.free(line);
    for (line, 0..) |*character, index| character.* = if (index % 2 == 0) '/' else '\\';
    _ = eapp_print("zigzag: %.*s\n", @as(c_int, @intCast(line.len)), line.ptr);
    eapp_exit(std.hash.Crc32.hash(line));
}
