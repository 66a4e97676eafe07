#!/usr/bin/env bash
# Builds the program in a directory, in C, C++, Zig, Go or AssemblyScript, and prints the path of what came out:
#   examples/build.sh [--native] DIRECTORY
# The file that it begins in says which language that is: main.c, main.cc, main.zig, go.mod or main.ts.
# For wasm32 with WASI preview 1, or with --native for this machine, which AssemblyScript cannot be.
#
# toolchains.sh has the compilers. The exit status is 3 if one cannot be had.
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

# c COMPILER OPTION…: cc or c++, of this machine or of Zig. What has entries is a reactor; lunatic.h says why.
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
# Others may be running or building the same.
begun=$output.$$
mkdir -p "$(dirname "$output")"
trap 'rm -f "$begun"' EXIT
cd "$source"

if [ -e main.c ]; then
    c cc main.c
elif [ -e main.cc ]; then
    # Exceptions are not among what the library has for WebAssembly.
    c c++ -fno-exceptions main.cc
elif [ -e main.zig ] && [ -n "$native" ]; then
    # Unoptimised: it is built far more slowly than it runs.
    zig build-exe main.zig "-femit-bin=$begun"
elif [ -e main.zig ]; then
    zig build-exe -target wasm32-wasi -O ReleaseSafe -rdynamic main.zig "-femit-bin=$begun"
elif [ -e go.mod ] && [ -n "$native" ]; then
    go build -o "$begun" .
elif [ -e go.mod ]; then
    # What has entries is a library; lunatic/lunatic.go says why.
    mode=exe
    [ -d lunatic ] && mode=c-shared
    GOOS=wasip1 GOARCH=wasm go build "-buildmode=$mode" -o "$begun" .
elif [ -e main.ts ]; then
    # What has entries does what is outside of functions in each process; lunatic.ts says more.
    start=_start
    [ -e lunatic.ts ] && start=_initialize
    asc main.ts --exportStart "$start" --optimize --debug --outFile "$(realpath --relative-to . "$begun")"
else
    echo "no language is known by what is in $source" >&2
    exit 2
fi
mv "$begun" "$output"
echo "$output"
