//! Writes a file in a directory opened below another one. Zig opens directories with inheriting rights that lack reading and
//! writing, and expects to write there nevertheless.
//!
//! Usage: PROGRAM DIRECTORY; the directory exists and is empty.

const std = @import("std");
const Io = std.Io;

pub fn main(init: std.process.Init) !void {
    const io = init.io;
    const words = try init.minimal.args.toSlice(init.arena.allocator());
    const directory = init.preopens.get(words[1]).?.dir;
    try directory.createDir(io, "sub", .default_dir);
    var sub = try directory.openDir(io, "sub", .{});
    defer sub.close(io);
    try sub.writeFile(io, .{ .sub_path = "c.txt", .data = "below" });
    var buffer: [16]u8 = undefined;
    const text = try sub.readFile(io, "c.txt", &buffer);
    try Io.File.stdout().writeStreamingAll(io, text);
    try directory.deleteTree(io, "sub");
}
