#!/usr/bin/env bash
# An ensemble on this machine: every server with a zoo.cfg, a data directory and logs of its own.
#   ensemble.sh start            starts all, and waits until they serve
#   ensemble.sh start|stop N     one of them: see how the others go on without it
#   ensemble.sh kill N           the same as a crash
#   ensemble.sh handover         has another server lead, as before a restart of the one that does
#   ensemble.sh status           who leads, and how far each has got
#   ensemble.sh servers          what clients are told: host:port,host:port,..
#   ensemble.sh stop             stops all; their data stays, and start carries on from it
#
# Variables:
#   ENSEMBLE_DIR (./data/ensemble)  where server-1, server-2, .. are
#   ENSEMBLE_SIZE (3)               how many
#   ENSEMBLE_HOST (127.0.0.1)       where they listen
#   ENSEMBLE_PORT (2181)            clients find server 1 there, server 2 on the next port, ..; servers talk to each
#                                   other 1000 and 2000 ports above; the admin servers are 3000 ports above
set -euo pipefail
scripts="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"

dir="$(realpath -m "${ENSEMBLE_DIR:-data/ensemble}")"
size="${ENSEMBLE_SIZE:-3}"
host="${ENSEMBLE_HOST:-127.0.0.1}"
port="${ENSEMBLE_PORT:-2181}"

usage() {
    sed -n '2,16s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
    exit 1
}

client_port() { echo $((port + $1 - 1)); }

# Writes server $1's zoo.cfg and myid, unless they are there: they may have been edited.
configure() {
    local home="$dir/server-$1" id
    [ -f "$home/zoo.cfg" ] && return
    mkdir -p "$home/data"
    echo "$1" >"$home/data/myid"
    {
        echo "tickTime=2000"
        echo "initLimit=10"
        echo "syncLimit=5"
        echo "dataDir=$home/data"
        echo "clientPort=$(client_port "$1")"
        echo "clientPortAddress=$host"
        echo "admin.serverAddress=$host"
        echo "admin.serverPort=$((port + 3000 + $1))"
        echo "4lw.commands.whitelist=*"
        for id in $(seq "$size"); do
            echo "server.$id=$host:$((port + 1000 + id)):$((port + 2000 + id))"
        done
    } >"$home/zoo.cfg"
}

# zkServer.sh $2 for server $1.
server() {
    ZOO_LOG_DIR="$dir/server-$1/logs" "$scripts/zkServer.sh" "$2" "$dir/server-$1/zoo.cfg" 2>&1 |
        sed -u "s/^/server $1: /" | grep --line-buffered -v "Using config:"
}

# The answer of server $1 to srvr, if it serves.
srvr() {
    { exec 3<>"/dev/tcp/$host/$(client_port "$1")" && printf srvr >&3 && timeout 2 cat <&3; } 2>/dev/null || true
}

line() { sed -n "s/^$1: //p" <<<"$2"; }

status() {
    local id said serving=0
    printf '%-8s %-22s %-12s %s\n' server clients mode zxid
    for id in $(seq "$size"); do
        said="$(srvr "$id")"
        [ -n "$(line Mode "$said")" ] && serving=$((serving + 1))
        printf '%-8s %-22s %-12s %s\n' "$id" "$host:$(client_port "$id")" "$(line Mode "$said" | grep . || echo -)" \
            "$(line Zxid "$said" | grep . || echo -)"
    done
    [ "$serving" -eq "$size" ]
}

# The server that leads.
leader() {
    local id
    for id in $(seq "$size"); do
        [ "$(line Mode "$(srvr "$id")")" = leader ] && echo "$id" && return
    done
    echo "Nobody leads" >&2
    return 1
}

handover() {
    local leader
    leader="$(leader)"
    server "$leader" handover
}

start_all() {
    local id tries=300
    for id in $(seq "$size"); do
        configure "$id"
        server "$id" start &
    done
    wait
    until status >/dev/null || [ "$tries" -eq 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    status || { echo "Not all of them serve; their logs are in $dir/server-*/logs" >&2; exit 1; }
}

one="${2:-}"
[[ -z "$one" || "$one" =~ ^[0-9]+$ ]] || usage
case "${1:-}${one:+ N}" in
    start) start_all ;;
    "start N") configure "$one"; server "$one" start ;;
    stop) for id in $(seq "$size"); do server "$id" stop & done; wait ;;
    "stop N") server "$one" stop ;;
    "kill N") kill -9 "$(cat "$dir/server-$one/data/zookeeper_server.pid")" ;;
    handover) handover ;;
    status) status ;;
    servers) seq "$size" | while read -r id; do echo "$host:$(client_port "$id")"; done | paste -sd, ;;
    *) usage ;;
esac
