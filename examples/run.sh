#!/usr/bin/env bash
# Builds an example for WebAssembly, prepares it, and runs it: examples/run.sh NAME [ARGUMENT…]
# Installs the wasm32-wasip1 target of the active toolchain if it is missing. LUNATIC_COMMANDS names a directory that the
# commands are in already; without it they are built.
set -euo pipefail
name=${1:?usage: examples/run.sh NAME [ARGUMENT…]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
guests="$root/target/examples"

rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
cargo build --quiet --release --target wasm32-wasip1 \
    --manifest-path "$root/examples/$name/Cargo.toml" --target-dir "$guests"
commands=${LUNATIC_COMMANDS:-$root/target/release}
[ -n "${LUNATIC_COMMANDS:-}" ] || cargo build --release --manifest-path "$root/Cargo.toml" --package lunatic-cli

wasm="$guests/wasm32-wasip1/release/$name.wasm"
"$commands/lunatic-prep" "$wasm" -o "${wasm%.wasm}.lwasm"
exec "$commands/lunatic-exec" "${wasm%.wasm}.lwasm" "$@"
