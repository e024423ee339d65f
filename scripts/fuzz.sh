#!/usr/bin/env bash
# Runs every fuzz target for SECONDS (60) each, or those named behind it; new inputs join the corpus that is kept
# beside the targets, which every test run goes through (tests/tests/fuzz_corpus.rs).
#   scripts/fuzz.sh 600            every target, ten minutes each
#   scripts/fuzz.sh 60 step text   two of them
#   scripts/fuzz.sh minimise       takes out of the corpus what covers nothing that others do not
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
# Longer inputs find nothing that short ones do not, and are slower.
longest=2048
for target in "$@"; do
    mkdir -p "corpus/$target"
    if [ "$seconds" = minimise ]; then
        kept="$(mktemp -d)"
        cargo fuzz run --fuzz-dir . --sanitizer none "$target" "$kept" "corpus/$target" -- \
            -merge=1 -max_len="$longest"
        rm -rf "corpus/$target"
        mv "$kept" "corpus/$target"
        chmod 755 "corpus/$target"
        continue
    fi
    echo "== $target: $seconds s"
    # What a target may hold in memory follows from its input, and is kept by the target itself; this is for the rest.
    rss=256
    # Batches may be unpacked, up to a bound.
    case "$target" in kafka_batches | kafka_partition_log) rss=512 ;; esac
    cargo fuzz run --fuzz-dir . --sanitizer none "$target" "corpus/$target" -- \
        -max_total_time="$seconds" -rss_limit_mb="$rss" -max_len="$longest" -print_final_stats=1
done
