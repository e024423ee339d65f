#!/usr/bin/env bash
# Installs the peers that the interoperability tests speak with: the Java server and its shell, the C client, Curator with a
# JDK to compile against it, kazoo, and Kafka's clients. What is not Debian's goes into a directory of the tests' own. Does
# nothing where all of it is there.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh

KAZOO_VERSION=2.10.0

apt_install zookeeper zookeeper-bin libzookeeper-java libcurator-recipes-java libcurator-discovery-java \
    default-jdk-headless python3 python3-venv kcat
# Not by their packages' names: whoever has another node has its npm with it.
command -v node >/dev/null || apt_install nodejs
command -v npm >/dev/null || apt_install npm

# The tests look for them here: see tests/src/peer.rs.
peers="${CARGO_TARGET_DIR:-target}/peers"

# Makes the virtual environment $1 of the packages that the following arguments name to pip.
make_venv() {
    local venv="$peers/$1"
    rm -rf "$venv"
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check "${@:2}"
}

"$peers/kazoo-$KAZOO_VERSION/bin/python" -c 'import kazoo' 2>/dev/null ||
    make_venv "kazoo-$KAZOO_VERSION" "kazoo==$KAZOO_VERSION"

# What was installed is written down last: an installation that was interrupted is made again.
clients=tests/interop/kafka
if ! cmp --silent $clients/requirements.txt "$peers/kafka/requirements.txt"; then
    make_venv kafka --requirement $clients/requirements.txt
    cp $clients/requirements.txt "$peers/kafka/"
fi
if ! cmp --silent $clients/package.json "$peers/kafkajs/installed.json"; then
    rm -rf "$peers/kafkajs"
    mkdir -p "$peers/kafkajs"
    cp $clients/package.json "$peers/kafkajs/"
    npm install --prefix "$peers/kafkajs" --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
    cp $clients/package.json "$peers/kafkajs/installed.json"
fi
