#!/usr/bin/env bash
# From a fresh machine to a running service: installs what the build needs, builds, starts a server with the
# embedded default (127.0.0.1:2181, ./data), shows a first session in the shell, and stays until Ctrl-C.
set -euo pipefail
cd "$(dirname "$0")/.."

if (: </dev/tcp/127.0.0.1/2181) 2>/dev/null; then
    echo "Something listens on 127.0.0.1:2181 already, perhaps a ZooKeeper: stop it first." >&2
    exit 1
fi

scripts/install-build-deps.sh
cargo build --release --locked --bin zkserver --bin zkcli
bin="${CARGO_TARGET_DIR:-target}/release"

"$bin/zkserver" &
server=$!
trap 'kill -TERM "$server" 2>/dev/null; wait "$server"' EXIT
trap 'exit 0' INT TERM

shell() {
    printf '\n$ zkcli %s\n' "$*"
    "$bin/zkcli" -server 127.0.0.1:2181 "$@"
}

"$bin/zkcli" -waitforconnection -server 127.0.0.1:2181 ls / >/dev/null
# A second run finds the znode of the first.
"$bin/zkcli" -server 127.0.0.1:2181 deleteall /hello >/dev/null 2>&1 || true
shell create /hello world
shell get -s /hello
shell set /hello again
shell ls -R /

cat <<TEXT

The service runs on 127.0.0.1:2181; its data is in ./data. Every ZooKeeper client can use it.
  a shell        $bin/zkcli
  its state      curl http://127.0.0.1:8080/commands/server_stats
  your zoo.cfg   $bin/zkserver /etc/zookeeper/conf/zoo.cfg
Ctrl-C stops it.
TEXT
wait "$server"
