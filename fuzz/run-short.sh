#!/bin/sh
# Runs every fuzz target for some seconds: `fuzz/run-short.sh SECONDS`. It needs a nightly compiler;
# without one it says so and fails: the test `decoders` is the form that runs everywhere.
# Long runs: `cd fuzz && cargo +nightly fuzz run TARGET`.
set -eu

seconds=${1:?"usage: run-short.sh SECONDS"}
cd "$(dirname "$0")/.."

if ! cargo +nightly --version >/dev/null 2>&1; then
    echo "**********************************************************************" >&2
    echo "NO FUZZING: there is no nightly compiler here." >&2
    echo "\`rustup toolchain install nightly\` brings one." >&2
    echo "**********************************************************************" >&2
    exit 1
fi
if ! cargo fuzz --version >/dev/null 2>&1; then
    cargo install cargo-fuzz --locked --quiet
fi

cargo run --locked --quiet --package skein-tests --example seeds -- fuzz/corpus
# Unsafe code is forbidden in the workspace, so the address sanitizer, which doubles the time that
# compiling takes, is left to long runs.
cargo +nightly fuzz build --fuzz-dir fuzz --sanitizer none
for target in $(cargo +nightly fuzz list --fuzz-dir fuzz); do
    echo "fuzzing $target for $seconds s"
    log=$(mktemp)
    # Inputs that frames of the largest kind fit into; the seeds are short.
    if ! cargo +nightly fuzz run --fuzz-dir fuzz --sanitizer none "$target" -- \
        -max_total_time="$seconds" -max_len=600000 -len_control=20 -rss_limit_mb=1024 \
        -timeout=10 >"$log" 2>&1; then
        cat "$log" >&2
        rm -f "$log"
        echo "$target found something: the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    tail -n 1 "$log"
    rm -f "$log"
done
