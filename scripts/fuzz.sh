#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60) each, or those named behind it; new inputs join the corpus.
#   scripts/fuzz.sh 600            every target, ten minutes each
#   scripts/fuzz.sh 60 txn frame   two of them
set -euo pipefail
cd "$(dirname "$0")/../tests/fuzz"

seconds="${1:-60}"
shift || true
command -v cargo-fuzz >/dev/null || cargo install cargo-fuzz --locked
if [ "$#" -eq 0 ]; then
    # shellcheck disable=SC2046 # Names have no spaces.
    set -- $(cargo fuzz list --fuzz-dir .)
fi

# Coverage instrumentation needs flags that the stable toolchain hides; the address sanitizer, which safe code
# has little use for, would need another toolchain.
export RUSTC_BOOTSTRAP=1
for target in "$@"; do
    echo "== $target: $seconds s"
    mkdir -p "corpus/$target"
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1
done
