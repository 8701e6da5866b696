#!/bin/sh
# Builds the release program with debug symbols, and splits them off: target/symbols/portolan is what you install, and
# target/symbols/portolan.debug what gdb, perf and backtraces read beside it or below /usr/lib/debug. The two belong
# together by their build id; symbols of another build don't fit. Needs objcopy, of Debian's package binutils.
set -eu
cd "$(dirname "$0")/.."
if [ $# -eq 0 ]; then
    cargo build --profile symbols --locked
    set -- "${CARGO_TARGET_DIR:-target}/symbols/portolan"
fi
cd "$(dirname "$1")"
program=$(basename "$1")
objcopy --only-keep-debug "$program" "$program.debug"
objcopy --strip-debug --add-gnu-debuglink="$program.debug" "$program"
ls -l "$program" "$program.debug"
