#!/usr/bin/env bash
# Starts, stops and asks a server, with zkServer.sh's arguments, variables and output:
#   zkServer.sh [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|handover|print-cmd} [zoo.cfg]
#
# handover is no command of Java's: the server has another one lead, if it does itself.
#
# Variables: ZOOCFGDIR, ZOOCFG, ZOOPIDFILE, ZOO_LOG_DIR, ZOO_DATADIR_AUTOCREATE_DISABLE; of SERVER_JVMFLAGS and
# JVMFLAGS those that begin with -D are passed on. ZOO_ADMIN_AUTH (ip) is what the admin server is told of whoever
# asks for a handover: "digest user:password" where the root's ACL is not for everyone.
set -uo pipefail
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"

usage() {
    echo "Usage: $0 [--config <conf-dir>] {start|start-foreground|stop|version|restart|status|handover|print-cmd}" >&2
    exit 1
}

command="${1:-}"
[ -n "$command" ] || usage
# A name is looked for in ZOOCFGDIR, a path is taken as it is.
case "${2:-}" in
    "") ;;
    */*) ZOOCFG="$2" ;;
    *) ZOOCFG="$ZOOCFGDIR/$2" ;;
esac
if [ "$command" = version ]; then
    server="$(program zkserver)" || exit 1
    echo "Apache ZooKeeper, version $("$server" --version | sed 's/^zkserver //')"
    exit 0
fi
echo "Using config: $ZOOCFG" >&2
if [ ! -r "$ZOOCFG" ]; then
    echo "Error: cannot read $ZOOCFG" >&2
    exit 1
fi

# The last value of a key in the file.
setting() {
    sed -n -E "s/^[[:space:]]*(zookeeper\.)?$1[[:space:]]*[=:][[:space:]]*(.*[^[:space:]])[[:space:]]*$/\2/p" "$ZOOCFG" |
        tail -n 1
}

flags=()
for flag in ${SERVER_JVMFLAGS:-} ${JVMFLAGS:-}; do
    case "$flag" in -Dzookeeper.* | -Djute.* | -Dreadonlymode.* | -Dznode.*) flags+=("$flag") ;; esac
done
[ -n "${ZOO_DATADIR_AUTOCREATE_DISABLE:-}" ] && flags+=(-Dzookeeper.datadir.autocreate=false)

needs_server() {
    server="$(program zkserver)" || exit 1
}

# Where the process id is kept.
pid_file() {
    local data_dir
    data_dir="$(setting dataDir)"
    echo "${ZOOPIDFILE:-$data_dir/zookeeper_server.pid}"
}

is_running() {
    [ -f "$1" ] && kill -0 "$(cat "$1")" 2>/dev/null
}

# Waits until the command that follows fails, for 10 times so many seconds.
wait_while() {
    local tries=$(($1 * 10))
    shift
    while "$@" && [ "$tries" -gt 0 ]; do
        sleep 0.1
        tries=$((tries - 1))
    done
    ! "$@"
}

start() {
    local pid_file out pid
    echo -n "Starting zookeeper ... "
    pid_file="$(pid_file)"
    if is_running "$pid_file"; then
        echo "already running as process $(cat "$pid_file")."
        exit 1
    fi
    mkdir -p "$(dirname "$pid_file")" "$ZOO_LOG_DIR"
    out="$ZOO_LOG_DIR/zookeeper-${USER:-$(id -un)}-server-${HOSTNAME:-localhost}.out"
    nohup "$server" ${flags[@]+"${flags[@]}"} "$ZOOCFG" >"$out" 2>&1 </dev/null &
    pid=$!
    if ! echo -n "$pid" >"$pid_file"; then
        echo "FAILED TO WRITE PID"
        exit 1
    fi
    # What is wrong with a configuration shows at once.
    sleep 1
    if kill -0 "$pid" 2>/dev/null; then
        echo STARTED
    else
        echo "FAILED TO START"
        tail -n 3 "$out" >&2
        rm -f "$pid_file"
        exit 1
    fi
}

stop() {
    local pid_file
    echo -n "Stopping zookeeper ... "
    pid_file="$(pid_file)"
    if [ ! -f "$pid_file" ]; then
        echo "no zookeeper to stop (could not find file $pid_file)"
        return
    fi
    if is_running "$pid_file"; then
        kill "$(cat "$pid_file")"
        if ! wait_while 60 is_running "$pid_file"; then
            echo "STILL RUNNING"
            exit 1
        fi
    fi
    rm -f "$pid_file"
    echo STOPPED
}

# Host and port that clients connect to: of clientPort, or of our own server.N.
client_address() {
    local host port id line file
    host="$(setting clientPortAddress)"
    port="$(setting clientPort)"
    if [ -z "$port" ]; then
        id="$(head -n 1 "$(setting dataDir)/myid" 2>/dev/null)"
        file="$(setting dynamicConfigFile)"
        line="$(sed -n -E "s/^[[:space:]]*server\.${id:-none}[[:space:]]*=.*;[[:space:]]*//p" "$ZOOCFG" ${file:+"$file"} |
            tail -n 1)"
        port="${line##*:}"
        [ "$port" = "$line" ] || host="${line%:*}"
    fi
    host="${host#[}"
    echo "${host:-localhost}" "${port}" | tr -d ']'
}

# Asks the word $3 of the server at $1 $2.
ask() {
    exec 3<>"/dev/tcp/$1/$2" || return 1
    printf '%s' "$3" >&3
    timeout 10 cat <&3
    exec 3>&-
}

status() {
    local host port mode
    read -r host port < <(client_address)
    if [ -z "$port" ]; then
        echo "Unable to find either secure or unsecure client port in any configs. Terminating."
        exit 1
    fi
    [ "$host" = 0.0.0.0 ] && host=localhost
    echo "Client port found: $port. Client address: $host. Client SSL: false."
    mode="$(ask "$host" "$port" srvr 2>/dev/null | grep '^Mode')"
    if [ -z "$mode" ]; then
        echo "Error contacting service. It is probably not running."
        exit 1
    fi
    echo "$mode"
}

# Asks the admin server at $1 $2 to do $3, a POST; its answer.
post() {
    exec 3<>"/dev/tcp/$1/$2" || return 1
    printf 'POST %s HTTP/1.0\r\nHost: %s\r\nAuthorization: %s\r\nContent-Length: 0\r\n\r\n' \
        "$3" "$1" "${ZOO_ADMIN_AUTH:-ip}" >&3
    timeout 30 cat <&3
    exec 3>&-
}

handover() {
    local host said leader
    host="$(setting admin.serverAddress)"
    case "$host" in "" | 0.0.0.0) host=localhost ;; esac
    said="$(post "$host" "$(setting admin.serverPort | grep . || echo 8080)" \
        "$(setting admin.commandURL | grep . || echo /commands)/handover" 2>/dev/null)"
    leader="$(sed -n -E 's/.*"leader_id" : ([0-9]+).*/\1/p' <<<"$said")"
    if [ -z "$leader" ]; then
        echo "Not handed over: $(sed -n -E 's/.*"error" : "(.*)".*/\1/p' <<<"$said" | grep . ||
            echo "the admin server does not answer")" >&2
        exit 1
    fi
    echo "Leader: $leader"
}

case "$command" in
    start)
        needs_server
        start
        ;;
    start-foreground)
        needs_server
        exec "$server" ${flags[@]+"${flags[@]}"} "$ZOOCFG"
        ;;
    stop) stop ;;
    restart)
        needs_server
        stop
        start
        ;;
    status) status ;;
    handover) handover ;;
    print-cmd)
        needs_server
        echo "\"$server\" ${flags[*]-} \"$ZOOCFG\""
        ;;
    *) usage ;;
esac
