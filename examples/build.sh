#!/usr/bin/env bash
# Builds the program in a directory, in C, C++, Zig, Go or AssemblyScript, and prints the path of the result:
#   examples/build.sh [--native] DIRECTORY
# One of the files main.c, main.cc, main.zig, go.mod or main.ts determines the language. The target is wasm32 with WASI preview 1, or
# with --native this machine, which AssemblyScript does not support.
#
# toolchains.sh installs the compilers. The exit status is 3 if one cannot be installed.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/examples/toolchains.sh"

native=
if [ "${1-}" = --native ]; then
    native=yes
    shift
fi
source=$(cd "${1:?usage: examples/build.sh [--native] DIRECTORY}" && pwd)
output=$root/target/programs${source#"$root"}

# c COMPILER OPTION…: cc or c++, of this machine or of Zig. A program with entries is a reactor; lunatic.h says why.
c() {
    local compiler=$1 model=command
    shift
    if grep -q '"lunatic.h"' main.*; then
        model=reactor
        set -- "$@" "-I$root/examples/c" -x c "$root/examples/c/lunatic.c"
    fi
    if [ -z "$native" ]; then
        zig "$compiler" --target=wasm32-wasi "-mexec-model=$model" -O2 -o "$begun" "$@"
    elif command -v "$compiler" >/dev/null; then
        "$compiler" -O2 -o "$begun" "$@"
    else
        zig "$compiler" -O2 -o "$begun" "$@"
    fi
}

if [ -n "$native" ]; then output=$output/program; else output=$output/program.wasm; fi
# Other scripts may be building or running the same program.
begun=$output.$$
mkdir -p "$(dirname "$output")"
trap 'rm -f "$begun"' EXIT
cd "$source"

if [ -e main.c ]; then
    c cc main.c
elif [ -e main.cc ]; then
    # The C++ library for WebAssembly has no exceptions.
    c c++ -fno-exceptions main.cc
elif [ -e main.zig ] && [ -n "$native" ]; then
    # Unoptimised: optimising would take longer than it saves.
    zig build-exe main.zig "-femit-bin=$begun"
elif [ -e main.zig ]; then
    zig build-exe -target wasm32-wasi -O ReleaseSafe -rdynamic main.zig "-femit-bin=$begun"
elif [ -e go.mod ] && [ -n "$native" ]; then
    go build -o "$begun" .
elif [ -e go.mod ]; then
    # A program with entries is a library; lunatic/lunatic.go says why.
    mode=exe
    [ -d lunatic ] && mode=c-shared
    GOOS=wasip1 GOARCH=wasm go build "-buildmode=$mode" -o "$begun" .
elif [ -e main.ts ]; then
    # A program with entries runs its top-level code in each process; see lunatic.ts.
    start=_start
    [ -e lunatic.ts ] && start=_initialize
    asc main.ts --exportStart "$start" --optimize --debug --outFile "$(realpath --relative-to . "$begun")"
else
    echo "$source has none of main.c, main.cc, main.zig, go.mod and main.ts" >&2
    exit 2
fi
mv "$begun" "$output"
echo "$output"
