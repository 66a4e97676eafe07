//! Uses the interface of Zig's library to the system: arguments, environment, input, files, time, randomness, and numbers as text.
//! Prints the results, to be compared with those of the same program built natively.
//!
//! Usage: PROGRAM DIRECTORY [WORD…]; the directory exists and is empty. The exit status is 7.

const std = @import("std");
const Io = std.Io;
const Writer = Io.Writer;

pub fn main(init: std.process.Init) !u8 {
    const io = init.io;
    var buffer: [1024]u8 = undefined;
    var stdout: Io.File.Writer = .init(.stdout(), io, &buffer);
    const out = &stdout.interface;

    const words = try init.minimal.args.toSlice(init.arena.allocator());
    try given(out, words[1..], init.environ_map);
    try input(out, io);
    // A guest has directories; a path from the root leads nowhere without one.
    const directory = if (init.preopens.get(words[1])) |found|
        found.dir
    else
        try Io.Dir.cwd().openDir(io, words[1], .{ .iterate = true });
    try files(out, io, init.gpa, directory);
    try moments(out, io);
    try chance(out, io);
    try numbers(out, init.gpa);
    try out.flush();
    return 7;
}

fn given(out: *Writer, words: []const [:0]const u8, environment: *std.process.Environ.Map) !void {
    for (words, 1..) |word, i| try out.print("argument {d}: [{s}]\n", .{ i, word });
    for ([_][]const u8{ "GREETING", "EMPTY", "ABSENT" }) |name| {
        try out.print("{s}: {s}\n", .{ name, environment.get(name) orelse "(not set)" });
    }
}

fn input(out: *Writer, io: Io) !void {
    var buffer: [256]u8 = undefined;
    var stdin: Io.File.Reader = .init(.stdin(), io, &buffer);
    var lines: usize = 0;
    while (try stdin.interface.takeDelimiter('\n')) |line| {
        lines += 1;
        try out.print("line {d}: {s} ({d})\n", .{ lines, line, line.len });
    }
    try out.print("{d} lines\n", .{lines});
}

fn byName(_: void, a: []const u8, b: []const u8) bool {
    return std.mem.lessThan(u8, a, b);
}

fn list(out: *Writer, io: Io, gpa: std.mem.Allocator, directory: Io.Dir) !void {
    var arena: std.heap.ArenaAllocator = .init(gpa);
    defer arena.deinit();
    var names: std.ArrayList([]const u8) = .empty;
    var entries = directory.iterate();
    while (try entries.next(io)) |entry| {
        const name = try std.fmt.allocPrint(arena.allocator(), "{s}({t})", .{ entry.name, entry.kind });
        try names.append(arena.allocator(), name);
    }
    std.mem.sort([]const u8, names.items, {}, byName);
    try out.print("{d} entries:", .{names.items.len});
    for (names.items) |name| try out.print(" {s}", .{name});
    try out.writeByte('\n');
}

fn files(out: *Writer, io: Io, gpa: std.mem.Allocator, directory: Io.Dir) !void {
    {
        const file = try directory.createFile(io, "a.txt", .{});
        defer file.close(io);
        var buffer: [512]u8 = undefined;
        var writer = file.writer(io, &buffer);
        for (0..3000) |i| try writer.interface.print("row {d}\n", .{i});
        try writer.interface.flush();
    }
    {
        const file = try directory.openFile(io, "a.txt", .{ .mode = .read_write });
        defer file.close(io);
        const end = try file.length(io);
        try file.writePositionalAll(io, "the end\n", end);
        var last: [64]u8 = undefined;
        const length = try file.readPositionalAll(io, &last, end - 5);
        try out.print("{d} bytes, last: {s}", .{ end, last[0..length] });
        try file.sync(io);
    }
    const whole = try directory.readFileAlloc(io, "a.txt", gpa, .unlimited);
    defer gpa.free(whole);
    try out.print("{d} bytes, {d} rows\n", .{ whole.len, std.mem.countScalar(u8, whole, '\n') });
    {
        const file = try directory.openFile(io, "a.txt", .{ .mode = .read_write });
        defer file.close(io);
        try file.setLength(io, 6);
    }
    const status = try directory.statFile(io, "a.txt", .{});
    try out.print("{d} bytes, a {t}\n", .{ status.size, status.kind });

    try directory.createDir(io, "sub", .default_dir);
    try directory.rename("a.txt", directory, "b.txt", io);
    try list(out, io, gpa, directory);
    if (directory.openFile(io, "a.txt", .{})) |_| {
        try out.writeAll("a.txt: still there\n");
    } else |failure| try out.print("a.txt: {t}\n", .{failure});
    if (directory.createDir(io, "sub", .default_dir)) {
        try out.writeAll("sub: made again\n");
    } else |failure| try out.print("sub: {t}\n", .{failure});
    if (directory.deleteFile(io, "sub")) {
        try out.writeAll("sub: deleted as a file\n");
    } else |failure| try out.print("sub as a file: {t}\n", .{failure});
    try directory.writeFile(io, .{ .sub_path = "sub/c.txt", .data = "below" });
    {
        var sub = try directory.openDir(io, "sub", .{ .iterate = true });
        defer sub.close(io);
        try list(out, io, gpa, sub);
    }
    if (directory.deleteDir(io, "sub")) {
        try out.writeAll("sub: deleted though there is something in it\n");
    } else |failure| try out.print("sub with something in it: {t}\n", .{failure});
    try directory.deleteTree(io, "sub");
    try directory.deleteFile(io, "b.txt");
    try list(out, io, gpa, directory);
}

fn moments(out: *Writer, io: Io) !void {
    const begin = Io.Timestamp.now(io, .awake);
    try io.sleep(.fromMilliseconds(20), .awake);
    const slept = begin.durationTo(.now(io, .awake)).nanoseconds;
    const is_right = slept >= 20 * std.time.ns_per_ms and slept < 20 * std.time.ns_per_s;
    try out.print("slept: {}\n", .{is_right});
    const now = Io.Timestamp.now(io, .real);
    try out.print("after 2020: {}\n", .{@divTrunc(now.nanoseconds, std.time.ns_per_s) > 1577836800});
}

fn chance(out: *Writer, io: Io) !void {
    var one: [16]u8 = undefined;
    var two: [16]u8 = undefined;
    try io.randomSecure(&one);
    try io.randomSecure(&two);
    try out.print("random differs: {}\n", .{!std.mem.eql(u8, &one, &two)});
}

fn numbers(out: *Writer, gpa: std.mem.Allocator) !void {
    const infinity = std.math.inf(f64);
    for ([_]f64{ 0.1, 1.0 / 3.0, 1e100, -2.5e-310, std.math.floatMax(f64), -0.0, infinity, std.math.nan(f64) }) |value| {
        try out.print("{d} {e} {d:.3} {d}\n", .{ value, value, value, @as(f32, @floatCast(value)) });
    }
    try out.print("{d} {d}\n", .{ try std.fmt.parseFloat(f64, "123456789.123456789"), try std.fmt.parseInt(i32, "-0x7f", 0) });
    try out.print("{d} {d}\n", .{ @sqrt(@as(f64, 2)), std.math.pow(f64, 2, 0.5) });
    const text = try std.json.Stringify.valueAlloc(gpa, .{ .a = [_]f64{ 1, 2.5 }, .b = "gr\u{fc}n" }, .{});
    defer gpa.free(text);
    try out.print("{s}\n", .{text});
}
