#!/usr/bin/env bash
# A C compiler for WebAssembly that Cargo's build scripts can call, for crates with C sources:
#   CC_wasm32_wasip1=…/examples/cc.sh AR_wasm32_wasip1=ar cargo build --target wasm32-wasip1
# It calls Zig's compiler, which has another name for the target and includes WASI's C library.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
. "$root/examples/toolchains.sh"

options=()
for option in "$@"; do
    case $option in
    --target=*) ;;
    *) options+=("$option") ;;
    esac
done
zig cc --target=wasm32-wasi "${options[@]}"
