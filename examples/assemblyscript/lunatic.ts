// Processes and messages for AssemblyScript: what a program needs of the functions that executor/ABI.md lists.
//
// A process is an instance of the whole program, with a memory of its own: it shares no variable with any other. It runs one
// exported function, and ends when that returns. The first process runs the one that is exported as _start:
//
//     export function sum_until(parent: lunatic.Process): void { … }
//     export function _start(): void { … }
//
// Build so that what is outside of functions, such as the values of global variables, is done by each process before that,
// which is what the export _initialize is for:
//
//     npm install assemblyscript @assemblyscript/wasi-shim
//     npx asc main.ts --config node_modules/@assemblyscript/wasi-shim/asconfig.json --exportStart _initialize \
//         --optimize --outFile main.wasm

/** A process, by a number that no other one ever has. */
export type Process = i64;

/** A module that a program has compiled. */
export type Module = i64;

/** The one that the program itself is. */
export const OWN_MODULE: Module = -1;

const NO_TAG: i64 = 0;
const FOREVER: i64 = -1;

namespace abi {
  // @ts-ignore: decorator
  @external("lunatic::process", "process_id")
  export declare function process_id(): i64;
  // @ts-ignore: decorator
  @external("lunatic::process", "spawn")
  export declare function spawn(
    link: i64,
    config: i64,
    module: i64,
    entry: usize,
    entryLength: usize,
    parameters: usize,
    parametersLength: usize,
    processOrError: usize,
  ): i32;
  // @ts-ignore: decorator
  @external("lunatic::process", "compile_module")
  export declare function compile_module(bytes: usize, length: usize, moduleOrError: usize): i32;
  // @ts-ignore: decorator
  @external("lunatic::message", "create_data")
  export declare function create_data(tag: i64, capacity: i64): void;
  // @ts-ignore: decorator
  @external("lunatic::message", "write_data")
  export declare function write_data(bytes: usize, length: usize): i32;
  // @ts-ignore: decorator
  @external("lunatic::message", "send")
  export declare function send(process: i64): i32;
  // @ts-ignore: decorator
  @external("lunatic::message", "receive")
  export declare function receive(tags: usize, count: usize, timeoutMs: i64): i32;
  // @ts-ignore: decorator
  @external("lunatic::message", "data_size")
  export declare function data_size(): i64;
  // @ts-ignore: decorator
  @external("lunatic::message", "read_data")
  export declare function read_data(buffer: usize, length: usize): i32;
  // @ts-ignore: decorator
  @external("lunatic::error", "string_size")
  export declare function string_size(error: i64): i32;
  // @ts-ignore: decorator
  @external("lunatic::error", "to_string")
  export declare function to_string(error: i64, text: usize): void;
}

/** Where the host puts numbers. */
const place = memory.data(8);

/** The process that asks. */
export function self(): Process {
  return abi.process_id();
}

/** Has a new process run an entry of the module with parameters, each of which is an i64. */
export function spawn(module: Module, entry: string, parameters: i64[]): Process {
  // Each has its type as WebAssembly encodes it, and the value in 16 bytes.
  const encoded = new Uint8Array(17 * parameters.length);
  for (let i = 0; i < parameters.length; i++) {
    encoded[17 * i] = 0x7e;
    store<i64>(encoded.dataStart + 17 * i + 1, parameters[i]);
  }
  const name = String.UTF8.encode(entry);
  const failed = abi.spawn(
    0, // not linked
    -1, // with the configuration of its parent
    module,
    changetype<usize>(name),
    name.byteLength,
    encoded.dataStart,
    encoded.length,
    place,
  );
  if (failed) throw new Error(textOf(load<i64>(place)));
  return load<i64>(place);
}

/** Makes a module of the bytes of a .wasm file. */
export function compile(wasm: Uint8Array): Module {
  const failed = abi.compile_module(wasm.dataStart, wasm.length, place);
  if (failed == -1) throw new Error("this process may not compile modules");
  if (failed) throw new Error(textOf(load<i64>(place)));
  return load<i64>(place);
}

/** Sends a process numbers as a message. Sending to a dead process is not an error. */
export function send(process: Process, numbers: i64[]): void {
  const bytes = sizeof<i64>() * numbers.length;
  abi.create_data(NO_TAG, bytes);
  abi.write_data(numbers.dataStart, bytes);
  abi.send(process);
}

/** Waits for the next message, which is as many numbers as it has room for. */
export function receive(): i64[] {
  abi.receive(0, 0, FOREVER);
  const numbers = new Array<i64>(<i32>(abi.data_size() / sizeof<i64>()));
  abi.read_data(numbers.dataStart, sizeof<i64>() * numbers.length);
  return numbers;
}

function textOf(error: i64): string {
  const text = new ArrayBuffer(abi.string_size(error));
  abi.to_string(error, changetype<usize>(text));
  return String.UTF8.decode(text);
}
