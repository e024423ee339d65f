#!/usr/bin/env bash
# Installs what the build needs besides a Rust toolchain: a C++ compiler for RocksDB, and libclang, which
# generates its bindings. Does nothing where all of it is there.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

if ! command -v cargo >/dev/null; then
    echo "No cargo found: install a Rust toolchain (rustup) first." >&2
    exit 1
fi
apt_install g++ make libclang-dev
