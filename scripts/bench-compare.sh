#!/usr/bin/env bash
# Measures our server beside Debian's ZooKeeper, and beside the limit of this machine (a bare echo server with the same
# framing, which for writes also syncs the same batches; three of them for three servers): the same load, on the same disk,
# in turns. Prints Markdown, each ratio beside its budget.
#
#   scripts/bench-compare.sh [--quick] [--dir DIRECTORY] [--only cells|memory|watches]
#   scripts/bench-compare.sh --ensemble [--quick] [--dir DIRECTORY] [--only cells|failover]
#
# With --ensemble, three servers of each kind are measured rather than one. Takes about ten minutes, with --quick about
# three. DIRECTORY, where all data goes, should be on the disk in question.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
. scripts/figures.sh

rounds=5 seconds=2 znodes=1000000 sessions=10000 rate_seconds=20 only=all dir='' took=''
parts=(cells watches memory)
while [ $# -gt 0 ]; do
    case "$1" in
        --quick) rounds=3 seconds=1 znodes=200000 sessions=2000 rate_seconds=5 ;;
        --dir) dir=$2; shift ;;
        --only) only=$2; shift ;;
        --ensemble) parts=(ensemble_cells failover) ;;
        *) echo "Usage: $0 [--ensemble] [--quick] [--dir DIRECTORY] [--only PART]" >&2; exit 2 ;;
    esac
    shift
done

apt_install zookeeper default-jre-headless >&2
cargo build --release --locked --bin zkserver --bin zkbench >&2
bin="${CARGO_TARGET_DIR:-target}/release"
work=$(mktemp -d "${dir:-${TMPDIR:-/var/tmp}}/bench-compare.XXXXXX")
declare -A pid=() port=([java]=21751 [ours]=21752 [echo]=21753 [sync]=21754)

stop() {
    [ -n "${pid[$1]:-}" ] || return 0
    kill -TERM "${pid[$1]}" 2>/dev/null || true
    wait "${pid[$1]}" 2>/dev/null || true
    pid[$1]=
}

# end STATUS: stops the servers, and leaves of a run that failed what they said.
end() {
    local name
    for name in "${!pid[@]}"; do stop "$name"; done
    if [ "$1" = 0 ]; then rm -rf "$work"; return; fi
    find "$work" -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
    echo "$0 failed; the servers' logs are in $work" >&2
}
trap 'end $?' EXIT
trap 'exit 1' HUP INT TERM

# settle: waits until the servers rest, at most ten seconds. A Java server still writes its snapshots when its turn is
# over, and would take up to a quarter of the processors from the next one.
settle() {
    local attempt before after
    for attempt in $(seq 50); do
        before=$(processor_ticks)
        sleep 0.2
        after=$(processor_ticks)
        [ $((after - before)) -gt 1 ] || return 0
    done
}

# processor_ticks: what the servers have had of the processors, in hundredths of a second.
processor_ticks() {
    local id
    for id in "${pid[@]}"; do [ -z "$id" ] || cat "/proc/$id/stat"; done 2>/dev/null |
        awk '{ sub(/.*\) /, ""); ticks += $12 + $13 } END { print ticks + 0 }'
}

# launch NAME [SNAPCOUNT]: starts a server on its data of last time.
launch() {
    local name=$1 config="$work/$1.cfg"
    mkdir -p "$work/$name"
    cat >"$config" <<CONFIG
tickTime=2000
maxSessionTimeout=600000
dataDir=$work/$name
clientPort=${port[$name]}
clientPortAddress=127.0.0.1
maxClientCnxns=0
admin.enableServer=false
snapCount=${2:-100000}
CONFIG
    case "$name" in
        java) java -Xmx4g -cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar \
            org.apache.zookeeper.server.quorum.QuorumPeerMain "$config" >"$work/$name.log" 2>&1 & ;;
        ours) "$bin/zkserver" "$config" >"$work/$name.log" 2>&1 & ;;
        echo) "$bin/zkbench" echo-server --listen "127.0.0.1:${port[echo]}" >"$work/$name.log" & ;;
        sync) "$bin/zkbench" echo-server --listen "127.0.0.1:${port[sync]}" --sync-to "$work/sync.log" \
            >"$work/$name.log" & ;;
    esac
    pid[$name]=$!
}

# bench NAME ARGUMENTS..: one JSON line from a measurement of that server.
bench() {
    local name=$1 command=$2
    shift 2
    "$bin/zkbench" --json "$command" --servers "127.0.0.1:${port[$name]}" "$@"
}

# start NAME [SNAPCOUNT]: the same, and waits; `took` is then the time to the first read. Not for $(..), as the server is to
# be a child of this shell.
start() { launch "$@"; took=$(bench "$1" first-read | field seconds); }
start_fresh() { stop "$1"; rm -rf "${work:?}/$1"; start "$@"; }

# field NAME [QUANTILE]: a number out of a JSON line.
field() {
    if [ $# -eq 1 ]; then sed -E "s/.*\"$1\":([0-9.]+).*/\1/"
    else sed -E "s/.*\"$1\":\{[^}]*\"${2//./\\.}\":([0-9.]+).*/\1/"; fi
}
# verdict RATIO BUDGET: the budget, marked where the ratio misses it.
verdict() {
    [ "$2" = - ] && { echo "-"; return; }
    awk -v r="$1" -v b="$2" 'BEGIN { print (r >= b) ? b : b " **missed**" }'
}

# table: the head of a table of throughput.
table() {
    echo "| requests/s | Java | ours | limit | ours : Java | ≥ | ours : limit | ≥ |"
    echo "| --- | --- | --- | --- | --- | --- | --- | --- |"
}

# cell BENCH OPS CLIENTS OUTSTANDING LIMIT JAVA-BUDGET LIMIT-BUDGET: a row of it. BENCH is the function that measures.
cell() {
    local bench=$1 ops=$2 clients=$3 outstanding=$4 limit=$5 name round
    declare -A seen=() rate=()
    for ((round = 0; round < rounds; round++)); do
        for name in java ours "$limit"; do
            settle
            seen[$name]+="$("$bench" "$name" run --ops "$ops" --clients "$clients" --outstanding "$outstanding" \
                --seconds "$seconds" --warmup 0.5 --no-setup | field per_second)"$'\n'
        done
    done
    for name in java ours "$limit"; do rate[$name]=$(printf '%s' "${seen[$name]}" | median); done
    local to_java to_limit
    to_java=$(ratio "${rate[ours]}" "${rate[java]}")
    to_limit=$(ratio "${rate[ours]}" "${rate[$limit]}")
    echo "| $ops ${clients}×${outstanding} | ${rate[java]} | ${rate[ours]} | ${rate[$limit]} |" \
        "$to_java | $(verdict "$to_java" "$6") | $to_limit | $(verdict "$to_limit" "$7") |"
}

cells() {
    local name
    for name in java ours; do start_fresh "$name"; done
    for name in echo sync; do start "$name"; done
    # The keys, and a JVM that has compiled what it needs.
    for name in java ours; do
        bench "$name" run --ops set --clients 16 --outstanding 64 --seconds "$((rounds * 2))" >/dev/null
        bench "$name" run --ops get --clients 16 --outstanding 64 --seconds "$((rounds * 2))" >/dev/null
    done
    table
    cell bench get 1 1 echo 1.7 0.90
    cell bench get 16 1 echo 3.0 0.85
    cell bench get 256 1 echo 2.5 0.85
    cell bench get 16 64 echo 15 -
    cell bench set 1 1 sync 1.6 0.70
    cell bench set 16 1 sync 1.8 0.85
    cell bench set 256 1 sync 2.0 0.70
    cell bench set 16 64 sync 8 -
    cell bench get=90,set=10 256 1 sync 2.4 0.85
    cell bench get=90,set=10 16 64 sync 10 -
    cell bench create 16 64 sync 10 -
    for name in java ours echo sync; do stop "$name"; done
}

# tail_latency NAME: p99.9 of 20,000 writes a second over the tree that is there, in milliseconds.
tail_latency() {
    bench "$1" run --ops set --clients 16 --rate 20000 --seconds "$rate_seconds" --warmup 3 |
        field latency_us p99.9 | awk '{ printf "%.1f", $1 / 1000 }'
}

memory() {
    declare -A row=()
    local name line
    for name in java ours; do
        start_fresh "$name"
        line=$(bench "$name" sessions --count "$sessions" --pid "${pid[$name]}" --timeout-ms 600000)
        row[session,$name]=$(field rss_bytes_per_session <<<"$line")
        start_fresh "$name"
        line=$(bench "$name" fill --count "$znodes" --pid "${pid[$name]}")
        row[fill,$name]=$(field per_second <<<"$line")
        row[rss,$name]=$(field rss_bytes <<<"$line" | awk '{ printf "%.0f", $1 / 1048576 }')
        row[znode,$name]=$(field rss_bytes_per_znode <<<"$line")
        stop "$name"
        start "$name" 100000000
        row[start,$name]=$took
        row[calm,$name]=$(tail_latency "$name")
        stop "$name"
        start "$name" 20000
        row[busy,$name]=$(tail_latency "$name")
        row[tail,$name]="$(ratio "${row[busy,$name]}" "${row[calm,$name]}")"
        stop "$name"
    done
    echo "| what | Java | ours | budget |"
    echo "| --- | --- | --- | --- |"
    echo "| RSS with $znodes znodes, MiB | ${row[rss,java]} | ${row[rss,ours]} | 300 at 1,000,000 |"
    echo "| RSS a znode, bytes | ${row[znode,java]} | ${row[znode,ours]} | 250 |"
    echo "| RSS an idle session, bytes ($sessions) | ${row[session,java]} | ${row[session,ours]} | 2048 |"
    echo "| filling, znodes/s | ${row[fill,java]} | ${row[fill,ours]} | - |"
    echo "| start to first read, s | ${row[start,java]} | ${row[start,ours]} | 0.5 at 1,000,000 |"
    echo "| p99.9 of 20,000 sets/s, no snapshots, ms | ${row[calm,java]} | ${row[calm,ours]} | 10 |"
    echo "| the same, a snapshot a second, ms | ${row[busy,java]} | ${row[busy,ours]} | 10 |"
    echo "| the second : the first | ${row[tail,java]} | ${row[tail,ours]} | 1.2 |"
}

watches() {
    local name watchers line
    for name in java ours; do start_fresh "$name"; done
    echo "| watchers of one znode | server | last notified p50, ms | writer's reply p50, ms |"
    echo "| --- | --- | --- | --- |"
    for watchers in 1000 5000; do
        for name in java ours; do
            line=$(bench "$name" watches --watchers "$watchers" --rounds "$((rounds * 4))")
            echo "| $watchers | $name | $(field last_notified_us p50 <<<"$line" | awk '{ printf "%.1f", $1 / 1000 }') |" \
                "$(field writer_reply_us p50 <<<"$line" | awk '{ printf "%.1f", $1 / 1000 }') |"
        done
    done
    echo
    echo "Budgets, last notified: 6 ms at 1000, 30 ms at 5000; the writer's reply does not wait for them."
    for name in java ours; do stop "$name"; done
}

ulimit -n "$(ulimit -Hn)"
echo "$(nproc) cores, $rounds rounds of $seconds s, medians; data in $work"
if [ "${parts[0]}" = ensemble_cells ]; then
    . scripts/bench-ensemble.sh
fi
for part in "${parts[@]}"; do
    [ "$only" = all ] || [ "$only" = "${part#ensemble_}" ] || continue
    echo
    "$part"
done
