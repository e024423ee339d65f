#!/usr/bin/env bash
# Shows a rolling replacement: three Java servers become ours, one at a time, and Java's again, with the same zoo.cfg
# and data directories, while clients write and read. Prints each step, how long writes had to wait in it, and in
# the end that no session and no acknowledged write was lost.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-build-deps.sh
scripts/install-test-peers.sh
exec cargo test --release --locked -p tests --test ensemble_replacement -- --nocapture ours
