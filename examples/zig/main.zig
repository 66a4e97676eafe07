//! A hundred processes, each of which adds up a part of a vector: examples/sums in Zig.
//!
//! Every child is sent its index and a copy of the vector, sums the numbers up to the index, and sends the result back to the
//! parent, which prints them in order.

const std = @import("std");
const lunatic = @import("lunatic.zig");

const children = 100;

pub fn main(init: std.process.Init) !void {
    var task: [1 + children]i64 = undefined;
    for (task[1..], 0..) |*number, i| number.* = @intCast(i);
    for (0..children) |index| {
        const child = try lunatic.spawn(lunatic.own_module, "sum_until", .{lunatic.self()});
        task[0] = @intCast(index);
        lunatic.send(child, &task);
    }

    var sums: [children]i64 = undefined;
    for (0..children) |_| {
        const answer = try lunatic.receive(init.gpa);
        defer init.gpa.free(answer);
        sums[@intCast(answer[0])] = answer[1];
    }
    var buffer: [1024]u8 = undefined;
    var stdout: std.Io.File.Writer = .init(.stdout(), init.io, &buffer);
    for (sums, 0..) |sum, index| try stdout.interface.print("Sum until {d}: {d}\n", .{ index, sum });
    try stdout.interface.flush();
}

export fn sum_until(parent: lunatic.Process) void {
    const task = lunatic.receive(std.heap.wasm_allocator) catch @panic("no memory for the task");
    const index: usize = @intCast(task[0]);
    var sum: i64 = 0;
    for (task[1..][0 .. index + 1]) |number| sum += number;
    lunatic.send(parent, &.{ task[0], sum });
}
