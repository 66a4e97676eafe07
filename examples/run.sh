#!/usr/bin/env bash
# Builds an example for WebAssembly, prepares it, and runs it: examples/run.sh NAME [ARGUMENT…]
# Installs what it is built with if that is missing: the wasm32-wasip1 target of the active toolchain, or for other
# languages than Rust their compiler, by examples/build.sh. LUNATIC_COMMANDS names a directory that the
# commands are in already; without it they are built.
set -euo pipefail
name=${1:?usage: examples/run.sh NAME [ARGUMENT…]}
shift
root=$(cd "$(dirname "$0")/.." && pwd)
guests="$root/target/examples"
options=()

if [ -e "$root/examples/$name/Cargo.toml" ]; then
    rustup target list --installed | grep -qx wasm32-wasip1 || rustup target add wasm32-wasip1
    cargo build --quiet --release --target wasm32-wasip1 \
        --manifest-path "$root/examples/$name/Cargo.toml" --target-dir "$guests"
    wasm="$guests/wasm32-wasip1/release/$name.wasm"
else
    wasm=$("$root/examples/build.sh" "$root/examples/$name")
fi
# Programs whose processes are other programs' have a list of those.
if [ -e "$root/examples/$name/modules" ]; then
    modules=$(dirname "$wasm")/modules
    mkdir -p "$modules"
    while read -r module; do
        cp "$("$root/examples/build.sh" "$root/examples/$module")" "$modules/$module.wasm"
    done <"$root/examples/$name/modules"
    options=(--dir "$modules::modules")
fi
commands=${LUNATIC_COMMANDS:-$root/target/release}
[ -n "${LUNATIC_COMMANDS:-}" ] || cargo build --release --manifest-path "$root/Cargo.toml" --package lunatic-cli

"$commands/lunatic-prep" "$wasm" -o "${wasm%.wasm}.lwasm"
exec "$commands/lunatic-exec" "${options[@]}" "${wasm%.wasm}.lwasm" "$@"
