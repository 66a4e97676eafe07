//! Processes and messages for Zig: what a program needs of the functions that executor/ABI.md lists.
//!
//! A process is an instance of the whole program, with a memory of its own: it shares no variable with any other, and begins
//! with all of them as they were compiled. It runs one function, which is exported by its name, and ends when that returns:
//!
//!     export fn sum_until(parent: lunatic.Process) void { … }
//!
//! Build with all that is exported:
//!
//!     zig build-exe -target wasm32-wasi -O ReleaseSafe -rdynamic main.zig
//!
//! What `main` is given, such as `init.io` and `init.gpa`, is the first process's. Others make what they need, such as an
//! allocator: `std.heap.wasm_allocator`.

const std = @import("std");

/// A process, by a number that no other one ever has.
pub const Process = i64;

/// A module that a program has compiled.
pub const Module = i64;

/// The one that the program itself is.
pub const own_module: Module = -1;

const no_tag = 0;
const forever = -1;

/// The functions themselves.
pub const abi = struct {
    pub extern "lunatic::process" fn process_id() Process;
    pub extern "lunatic::process" fn spawn(
        link: i64,
        config: i64,
        module: Module,
        entry: [*]const u8,
        entry_length: usize,
        parameters: [*]const u8,
        parameters_length: usize,
        process_or_error: *i64,
    ) i32;
    pub extern "lunatic::process" fn compile_module(bytes: [*]const u8, length: usize, module_or_error: *i64) i32;
    pub extern "lunatic::message" fn create_data(tag: i64, capacity: i64) void;
    pub extern "lunatic::message" fn write_data(bytes: [*]const u8, length: usize) i32;
    pub extern "lunatic::message" fn send(process: Process) i32;
    pub extern "lunatic::message" fn receive(tags: ?[*]const i64, count: usize, timeout_ms: i64) i32;
    pub extern "lunatic::message" fn data_size() i64;
    pub extern "lunatic::message" fn read_data(buffer: [*]u8, length: usize) i32;
    pub extern "lunatic::error" fn string_size(id: i64) i32;
    pub extern "lunatic::error" fn to_string(id: i64, text: [*]u8) void;
};

pub const Error = error{ NotSpawned, NotCompiled };

/// The process that asks.
pub fn self() Process {
    return abi.process_id();
}

/// Spawns a process that runs an entry of the module with these parameters, a tuple of `i32` and `i64`.
pub fn spawn(module: Module, entry: []const u8, parameters: anytype) Error!Process {
    // Each has its type as WebAssembly encodes it, and the value in 16 bytes.
    var encoded: [17 * parameters.len]u8 = @splat(0);
    inline for (parameters, 0..) |parameter, i| {
        const T = @TypeOf(parameter);
        encoded[17 * i] = switch (T) {
            i32 => 0x7f,
            i64 => 0x7e,
            else => @compileError("a parameter is neither i32 nor i64"),
        };
        std.mem.writeInt(T, encoded[17 * i + 1 ..][0..@sizeOf(T)], parameter, .little);
    }
    var id: i64 = undefined;
    const not_linked = 0;
    const own_configuration = -1;
    if (abi.spawn(not_linked, own_configuration, module, entry.ptr, entry.len, &encoded, encoded.len, &id) != 0) {
        return error.NotSpawned;
    }
    return id;
}

/// Makes a module of the bytes of a .wasm file.
pub fn compile(wasm: []const u8) Error!Module {
    var id: i64 = undefined;
    return if (abi.compile_module(wasm.ptr, wasm.len, &id) == 0) id else error.NotCompiled;
}

/// Sends a process numbers as a message. Sending to a dead process is not an error.
pub fn send(process: Process, numbers: []const i64) void {
    const bytes = std.mem.sliceAsBytes(numbers);
    abi.create_data(no_tag, @intCast(bytes.len));
    _ = abi.write_data(bytes.ptr, bytes.len);
    _ = abi.send(process);
}

/// Waits for the next message, which is as many numbers as it has room for. The owner of the allocation frees them.
pub fn receive(allocator: std.mem.Allocator) ![]i64 {
    _ = abi.receive(null, 0, forever);
    const numbers = try allocator.alloc(i64, @intCast(@divTrunc(abi.data_size(), @sizeOf(i64))));
    const bytes = std.mem.sliceAsBytes(numbers);
    _ = abi.read_data(bytes.ptr, bytes.len);
    return numbers;
}
