#!/usr/bin/env bash
# Brokers on this machine, on an ensemble of this machine: each with a server.properties, log directory and log of its own.
#   brokers.sh start             starts the ensemble and all brokers, and waits until they are registered
#   brokers.sh start|stop N      one of them: see how the others go on without it
#   brokers.sh kill N            the same as a crash
#   brokers.sh status            which are registered, where, and which is the controller
#   brokers.sh bootstrap         what clients are told: host:port,host:port,..
#   brokers.sh zookeeper         where the metadata stands, for zkcli -server
#   brokers.sh stop              stops all and the ensemble; their data stays, and start carries on from it
#
# Variables:
#   BROKERS_DIR (./data/brokers)    where broker-1, broker-2, .. and the ensemble are
#   BROKERS_COUNT (3)               how many
#   BROKERS_HOST (127.0.0.1)        where they listen
#   BROKERS_PORT (9092)             broker 1 listens there, broker 2 on the next port, ..
#   BROKERS_ZOOKEEPER               host:port,.. of a service that runs already, in place of an ensemble of our own; the
#                                   variables of ensemble.sh say how that one is made
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
ZOOBINDIR="$scripts"
. "$scripts/zkEnv.sh"

dir="$(realpath -m "${BROKERS_DIR:-data/brokers}")"
count="${BROKERS_COUNT:-3}"
host="${BROKERS_HOST:-127.0.0.1}"
port="${BROKERS_PORT:-9092}"

usage() {
    sed -n '2,18s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 1
}

ensemble() {
    ENSEMBLE_DIR="${ENSEMBLE_DIR:-$dir/ensemble}" "$scripts/ensemble.sh" "$@"
}

zookeeper() { echo "${BROKERS_ZOOKEEPER:-$(ensemble servers)}"; }

broker_port() { echo $((port + $1 - 1)); }

pid_file() { echo "$dir/broker-$1/broker.pid"; }

is_running() {
    [ -f "$(pid_file "$1")" ] && kill -0 "$(cat "$(pid_file "$1")")" 2>/dev/null
}

# Writes broker $1's server.properties, unless it is there: it may have been edited.
configure() {
    local home="$dir/broker-$1" copies=$((count < 3 ? count : 3))
    [ -f "$home/server.properties" ] && return
    mkdir -p "$home"
    {
        echo "broker.id=$1"
        echo "listeners=PLAINTEXT://$host:$(broker_port "$1")"
        echo "log.dirs=$home/data"
        echo "zookeeper.connect=$(zookeeper)"
        echo "zookeeper.session.timeout.ms=6000"
        echo "num.partitions=3"
        echo "default.replication.factor=$copies"
        echo "min.insync.replicas=$((copies > 1 ? copies - 1 : 1))"
        echo "offsets.topic.replication.factor=$copies"
        # A first consumer is not kept waiting for others: on one machine they are started by hand.
        echo "group.initial.rebalance.delay.ms=0"
    } >"$home/server.properties"
}

start() {
    local home="$dir/broker-$1" broker
    broker="$(program zkbroker)"
    if is_running "$1"; then
        echo "broker $1: already running as process $(cat "$(pid_file "$1")")"
        return
    fi
    configure "$1"
    nohup "$broker" "$home/server.properties" >>"$home/broker.log" 2>&1 </dev/null &
    echo $! >"$(pid_file "$1")"
    echo "broker $1: started"
}

# Asks for a clean end, which hands over what the broker leads, and waits for it.
stop() {
    local tries=600
    if is_running "$1"; then
        kill "$(cat "$(pid_file "$1")")"
        while is_running "$1" && [ "$tries" -gt 0 ]; do
            sleep 0.1
            tries=$((tries - 1))
        done
        is_running "$1" && echo "broker $1: still running" && return 1
    fi
    rm -f "$(pid_file "$1")"
    echo "broker $1: stopped"
}

# Ends it without a word, and waits until it is gone.
crash() {
    local tries=100
    kill -9 "$(cat "$(pid_file "$1")")"
    while is_running "$1" && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    echo "broker $1: killed"
}

# What the shell prints of $@, without what it says of its connection.
ask() {
    "$(program zkcli)" -server "$(zookeeper)" "$@" 2>/dev/null || true
}

status() {
    local id registered=0 ids controller state
    ids="$(ask ls /brokers/ids | grep '^\[' | tr -d '[] ' | tr , '\n')"
    controller="$(ask get /controller | sed -n 's/.*"brokerid":\([0-9]*\).*/\1/p')"
    printf '%-8s %-22s %-10s %-12s %s\n' broker clients process state controller
    for id in $(seq "$count"); do
        state=-
        if grep -qx "$id" <<<"$ids"; then
            state=registered
            registered=$((registered + 1))
        fi
        printf '%-8s %-22s %-10s %-12s %s\n' "$id" "$host:$(broker_port "$id")" \
            "$(is_running "$id" && cat "$(pid_file "$id")" || echo -)" "$state" \
            "$([ "$id" = "$controller" ] && echo yes || echo -)"
    done
    [ "$registered" -eq "$count" ] && [ -n "$controller" ]
}

start_all() {
    local id tries=60
    [ -n "${BROKERS_ZOOKEEPER:-}" ] || ensemble status >/dev/null || ensemble start
    for id in $(seq "$count"); do
        start "$id"
    done
    until status >/dev/null || [ "$tries" -eq 0 ]; do
        for id in $(seq "$count"); do
            is_running "$id" || tries=1 # It has ended at once: there is nothing to wait for.
        done
        sleep 0.5
        tries=$((tries - 1))
    done
    status || { echo "Not all of them are registered; their logs are $dir/broker-*/broker.log" >&2; exit 1; }
    echo "Clients connect to $(bootstrap)"
}

stop_all() {
    local id
    for id in $(seq "$count"); do stop "$id" & done
    wait
    [ -n "${BROKERS_ZOOKEEPER:-}" ] || ensemble stop
}

bootstrap() { seq "$count" | while read -r id; do echo "$host:$(broker_port "$id")"; done | paste -sd,; }

one="${2:-}"
[[ -z "$one" || "$one" =~ ^[0-9]+$ ]] || usage
case "${1:-}${one:+ N}" in
    start) start_all ;;
    "start N") start "$one" ;;
    stop) stop_all ;;
    "stop N") stop "$one" ;;
    "kill N") crash "$one" ;;
    status) status ;;
    zookeeper) zookeeper ;;
    bootstrap) bootstrap ;;
    *) usage ;;
esac
