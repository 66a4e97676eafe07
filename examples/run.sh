#!/usr/bin/env bash
# Builds an example for WebAssembly, prepares it, and runs it: examples/run.sh NAME [ARGUMENT…]
# Without a name, it lists the examples.
#
# Installs what the build needs if it is missing: the wasm32-wasip1 target of the active toolchain, or, for languages other
# than Rust, their compiler (see build.sh). LUNATIC_COMMANDS names a directory that contains the commands; without it, they
# are built.
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
name=${1-}
if [ -z "$name" ] || [ "$name" = embed ] || [ ! -d "$root/examples/$name" ]; then
    [ -z "$name" ] || [ "$name" = embed ] || echo "there is no example \"$name\"" >&2
    echo "usage: examples/run.sh NAME [ARGUMENT…], with one of these names:" >&2
    for directory in "$root"/examples/*/; do
        [ "$(basename "$directory")" = embed ] || echo "  $(basename "$directory")" >&2
    done
    echo "embed is not a guest but a program that runs guests: cargo run -p lunatic-example-embed --bin plugins" >&2
    exit 2
fi
shift
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
# A program whose processes run other modules has a list of the examples that they are built from.
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
