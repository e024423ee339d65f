#!/usr/bin/env bash
# From a fresh machine to a running service: installs what the build needs, builds, starts a server with the
# embedded default (127.0.0.1:2181, ./data), shows a first session in the shell, and stays until Ctrl-C.
# With --ensemble it starts three servers (127.0.0.1:2181, 2182, 2183; ./data/ensemble).
set -euo pipefail
cd "$(dirname "$0")/.."

case "${1:-}" in
    "") ports=2181 ;;
    --ensemble) ports="2181 2182 2183" ;;
    *)
        echo "Usage: $0 [--ensemble]" >&2
        exit 1
        ;;
esac

for port in $ports; do
    if (: </dev/tcp/127.0.0.1/"$port") 2>/dev/null; then
        echo "Something listens on 127.0.0.1:$port already, perhaps a ZooKeeper: stop it first." >&2
        exit 1
    fi
done

scripts/install-build-deps.sh
cargo build --release --locked --bin zkserver --bin zkcli
bin="${CARGO_TARGET_DIR:-target}/release"

server=
sleeper=
servers=127.0.0.1:2181
stop() {
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null
        wait "$server"
    else
        [ -z "$sleeper" ] || kill "$sleeper"
        scripts/ensemble.sh stop
    fi
}
trap stop EXIT
trap 'exit 0' INT TERM

if [ "${1:-}" = --ensemble ]; then
    PATH="$bin:$PATH" scripts/ensemble.sh start
    servers="$(scripts/ensemble.sh servers)"
else
    "$bin/zkserver" &
    server=$!
fi

shell() {
    printf '\n$ zkcli %s\n' "$*"
    "$bin/zkcli" -server "$servers" "$@"
}

"$bin/zkcli" -waitforconnection -server "$servers" ls / >/dev/null
# A second run finds the znode of the first.
"$bin/zkcli" -server "$servers" deleteall /hello >/dev/null 2>&1 || true
shell create /hello world
shell get -s /hello
shell set /hello again
shell ls -R /

if [ -n "$server" ]; then
    cat <<TEXT

The service runs on 127.0.0.1:2181; its data is in ./data. Every ZooKeeper client can use it.
  a shell        $bin/zkcli
  its state      curl http://127.0.0.1:8080/commands/server_stats
  your zoo.cfg   $bin/zkserver /etc/zookeeper/conf/zoo.cfg
Ctrl-C stops it.
TEXT
    wait "$server"
else
    cat <<TEXT

The service runs on $servers; its data is in ./data/ensemble. Every ZooKeeper client can use it.
  a shell        $bin/zkcli -server $servers
  who leads      scripts/ensemble.sh status
  a crash        scripts/ensemble.sh kill 3, and then: scripts/ensemble.sh start 3
Ctrl-C stops it.
TEXT
    # A signal interrupts a wait, and would have to wait for a sleep.
    sleep infinity &
    sleeper=$!
    wait "$sleeper"
fi
