// Uses AssemblyScript's interface to the system, through the shim that makes its library use WASI: arguments, environment, input,
// files, time, randomness, and numbers as text. The program cannot be built natively, so expected.txt has its output.
//
// Usage: PROGRAM DIRECTORY [WORD…]; the directory exists and is empty. The exit status is 7.

import {
  errno,
  errnoToString,
  fd_close,
  fd_filestat_get,
  fd_prestat_dir_name,
  fd_prestat_get,
  fd_read,
  fd_readdir,
  fd_seek,
  fd_write,
  filestat,
  oflags,
  path_create_directory,
  path_open,
  path_remove_directory,
  path_rename,
  path_unlink_file,
  prestat,
  prestat_dir,
  rights,
  whence,
} from "bindings/wasi_snapshot_preview1";

// The buffer for results of WASI functions.
const place = memory.data(64);

function check(what: string, failure: errno): void {
  if (failure == errno.SUCCESS) return;
  console.log(what + ": " + errnoToString(failure));
  process.exit(1);
}

function given(): void {
  for (let i = 1; i < process.argv.length; i++) {
    console.log("argument " + i.toString() + ": [" + process.argv[i] + "]");
  }
  const names = ["GREETING", "EMPTY", "ABSENT"];
  for (let i = 0; i < names.length; i++) {
    const isSet = process.env.has(names[i]);
    console.log(names[i] + ": " + (isSet ? process.env.get(names[i]) : "(not set)"));
  }
}

function input(): void {
  const buffer = new ArrayBuffer(16);
  let bytes: u8[] = [];
  for (let length: i32; (length = process.stdin.read(buffer)) > 0; ) {
    for (let i = 0; i < length; i++) bytes.push(load<u8>(changetype<usize>(buffer) + i));
  }
  const lines = String.UTF8.decodeUnsafe(bytes.dataStart, bytes.length).split("\n");
  for (let i = 0; i < lines.length; i++) {
    console.log("line " + (i + 1).toString() + ": " + lines[i] + " (" + lines[i].length.toString() + ")");
  }
}

// A text in WASI's encoding, which the garbage collector keeps as long as it is referenced.
class Text {
  bytes: ArrayBuffer;

  constructor(text: string) {
    this.bytes = String.UTF8.encode(text);
  }

  get at(): usize {
    return changetype<usize>(this.bytes);
  }

  get length(): usize {
    return this.bytes.byteLength;
  }
}

// The descriptor of a directory that the program was given.
function find(name: string): u32 {
  let fd: u32 = 3;
  while (true) {
    check("fd_prestat_get", fd_prestat_get(fd, changetype<prestat>(place)));
    const length = changetype<prestat_dir>(place).name_len;
    const buffer = new ArrayBuffer(<i32>length);
    check("fd_prestat_dir_name", fd_prestat_dir_name(fd, changetype<usize>(buffer), length));
    if (String.UTF8.decode(buffer) == name) break;
    fd++;
  }
  return fd;
}

function open(directory: u32, name: string, how: oflags, rights: rights): u32 {
  const path = new Text(name);
  check("path_open", path_open(directory, 0, path.at, path.length, how, rights, 0, 0, place));
  return load<u32>(place);
}

function list(directory: u32): void {
  const room: usize = 4096;
  const buffer = new ArrayBuffer(<i32>room);
  const begin = changetype<usize>(buffer);
  check("fd_readdir", fd_readdir(directory, begin, room, 0, place));
  const end = begin + load<usize>(place);
  const names: string[] = [];
  for (let at = begin; at < end; ) {
    // The next entry's number, the inode, the length of the name, and the type: 8, 8, 4 and 4 bytes.
    const length = load<u32>(at, 16);
    const name = String.UTF8.decodeUnsafe(at + 24, length);
    if (name != "." && name != "..") names.push(name + (load<u8>(at, 20) == 3 ? "/" : ""));
    at += 24 + length;
  }
  names.sort();
  console.log(names.length.toString() + " entries: " + names.join(" "));
}

function files(directory: u32): void {
  let file = open(directory, "a.txt", oflags.CREAT | oflags.TRUNC, rights.FD_WRITE | rights.FD_SEEK);
  const rows: string[] = [];
  for (let i = 0; i < 3000; i++) rows.push("row " + i.toString() + "\n");
  const text = new Text(rows.join(""));
  store<usize>(place, text.at);
  store<usize>(place, text.length, 4);
  check("fd_write", fd_write(file, place, 1, place + 8));
  console.log("written: " + load<u32>(place, 8).toString());
  check("fd_close", fd_close(file));

  file = open(directory, "a.txt", 0, rights.FD_READ | rights.FD_SEEK | rights.FD_FILESTAT_GET);
  check("fd_filestat_get", fd_filestat_get(file, changetype<filestat>(place)));
  console.log("size: " + changetype<filestat>(place).size.toString());
  check("fd_seek", fd_seek(file, -9, whence.END, place));
  console.log("at: " + load<u64>(place).toString());
  const buffer = new ArrayBuffer(64);
  store<usize>(place, changetype<usize>(buffer));
  store<usize>(place, 64, 4);
  check("fd_read", fd_read(file, place, 1, place + 8));
  console.log("read: " + String.UTF8.decodeUnsafe(changetype<usize>(buffer), load<usize>(place, 8)).trim());
  check("fd_close", fd_close(file));

  const a = new Text("a.txt"), b = new Text("b.txt"), sub = new Text("sub");
  check("path_create_directory", path_create_directory(directory, sub.at, sub.length));
  check("path_rename", path_rename(directory, a.at, a.length, directory, b.at, b.length));
  list(directory);
  const absent = path_open(directory, 0, a.at, a.length, 0, rights.FD_READ, 0, 0, place);
  console.log("a.txt: " + errnoToString(absent));
  console.log("sub again: " + errnoToString(path_create_directory(directory, sub.at, sub.length)));
  check("path_remove_directory", path_remove_directory(directory, sub.at, sub.length));
  check("path_unlink_file", path_unlink_file(directory, b.at, b.length));
  list(directory);
}

function moments(): void {
  const begin = performance.now();
  while (performance.now() - begin < 2) {}
  console.log("time goes on: " + (performance.now() > begin).toString());
  console.log("after 2020: " + (Date.now() > 1577836800000).toString());
  console.log(new Date(951782400123).toISOString());
}

function chance(): void {
  const one = new Uint8Array(16), two = new Uint8Array(16);
  crypto.getRandomValues(one);
  crypto.getRandomValues(two);
  console.log("random differs: " + (one.join() != two.join()).toString());
  console.log("Math.random differs: " + (Math.random() != Math.random()).toString());
}

function numbers(): void {
  const values: f64[] = [0.1, 1.0 / 3.0, 1e100, -2.5e-310, f64.MAX_VALUE, -0.0, Infinity, NaN];
  for (let i = 0; i < values.length; i++) console.log(values[i].toString() + " " + (<f32>values[i]).toString());
  console.log(parseFloat("123456789.123456789").toString() + " " + parseInt("-0x7f").toString());
  console.log(Math.sqrt(2).toString() + " " + Math.pow(2, 0.5).toString() + " " + Math.sin(1e6).toString());
}

given();
input();
files(find(process.argv[1]));
moments();
chance();
numbers();
process.exit(7);
