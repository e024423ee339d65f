#!/usr/bin/env bash
# Installs the peers that the interoperability tests speak with: the Java server and its shell, the C client, Curator with a
# JDK to compile against it, and kazoo in a virtual environment of its own. Does nothing where all of it is there.
set -euo pipefail
. "$(dirname "$0")/apt.sh"

KAZOO_VERSION=2.10.0

apt_install zookeeper zookeeper-bin libzookeeper-java libcurator-recipes-java libcurator-discovery-java \
    default-jdk-headless python3 python3-venv

# The tests look for it here: see tests/src/peer.rs.
venv="${CARGO_TARGET_DIR:-$(dirname "$0")/../target}/peers/kazoo-$KAZOO_VERSION"
if ! "$venv/bin/python" -c 'import kazoo' 2>/dev/null; then
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet "kazoo==$KAZOO_VERSION"
fi
