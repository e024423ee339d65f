#!/usr/bin/env bash
# Sets up a fresh machine and passes the tests: style, lints, documentation, and every test, those against real
# ZooKeeper peers included.
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-build-deps.sh
scripts/install-test-peers.sh

step() { printf '\n== %s\n' "$*"; }

step "format"
cargo fmt --all --check
step "lints"
cargo clippy --workspace --all-targets --locked -- -D warnings
step "documentation"
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items --locked
step "build"
cargo build --workspace --bins --locked
step "tests"
cargo test --workspace --locked --no-fail-fast "$@"
