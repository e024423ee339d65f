#!/usr/bin/env bash
# Measures our broker with kcat, librdkafka's own tool, beside another broker that is not Kafka (noida-db: Kafka itself is in no
# package registry), beside a file that is written (and synced), and beside a bare copy over TCP: the same bytes, in turns.
# Prints Markdown.
#
#   scripts/bench-brokers.sh [--quick] [--dir DIRECTORY] [--only throughput|memory]
#
# Takes about ten minutes, with --quick about two. DIRECTORY, where all data goes, should be on the disk in question.
set -Eeuo pipefail
cd "$(dirname "$0")/.."
. scripts/apt.sh
. scripts/figures.sh

NOIDA_VERSION=0.2.3
rounds=5 records=500000 partitions=1000 only=all dir=''
while [ $# -gt 0 ]; do
    case "$1" in
        --quick) rounds=3 records=200000 ;;
        --dir) dir=$2; shift ;;
        --only) only=$2; shift ;;
        *) echo "Usage: $0 [--quick] [--dir DIRECTORY] [--only throughput|memory]" >&2; exit 2 ;;
    esac
    shift
done
record_bytes=1000 topic_partitions=4

apt_install kcat python3 python3-venv >&2
target="${CARGO_TARGET_DIR:-target}"
peers="$target/peers"
if ! [ -x "$peers/noida-$NOIDA_VERSION/bin/noida-db" ]; then
    python3 -m venv "$peers/noida-$NOIDA_VERSION"
    "$peers/noida-$NOIDA_VERSION/bin/pip" install --quiet --disable-pip-version-check "noida-db==$NOIDA_VERSION" \
        kafka-python==3.0.12 >&2
fi
cargo build --release --locked --bin zkserver --bin zkbroker --bin zkcli >&2
bin="$target/release"
work=$(mktemp -d "${dir:-${TMPDIR:-/var/tmp}}/bench-brokers.XXXXXX")
zookeeper=127.0.0.1:21771
declare -A pid=() servers=([ours]=127.0.0.1:21781 [noida]=127.0.0.1:21791
    [three]=127.0.0.1:21781,127.0.0.1:21782,127.0.0.1:21783)

stop() {
    [ -n "${pid[$1]:-}" ] || return 0
    # noida-db may not end otherwise.
    kill "$([ "$1" = noida ] && echo -KILL || echo -TERM)" "${pid[$1]}" 2>/dev/null || true
    wait "${pid[$1]}" 2>/dev/null || true
    unset "pid[$1]"
}
stop_all() {
    # The service last: brokers take their leave from it.
    for name in "${!pid[@]}"; do [ "$name" = zookeeper ] || stop "$name"; done
    stop zookeeper
}
trap 'stop_all; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
trap 'tail -n 20 "$work"/*.log >&2' ERR

# until_true WHAT COMMAND..: tries for a minute.
until_true() {
    local what=$1 tries=600
    shift
    while ! "$@" >/dev/null 2>&1; do
        tries=$((tries - 1))
        [ "$tries" -gt 0 ] || { echo "never: $what; the logs are:" >&2; tail -n 20 "$work"/*.log >&2; exit 1; }
        sleep 0.1
    done
}

ask() { "$bin/zkcli" -server "$zookeeper" "$@"; }

# start_broker NAME ID
start_broker() {
    mkdir -p "$work/$1"
    cat >"$work/$1.properties" <<CONFIG
broker.id=$2
listeners=PLAINTEXT://127.0.0.1:2178$2
zookeeper.connect=$zookeeper
log.dirs=$work/$1
auto.create.topics.enable=false
CONFIG
    "$bin/zkbroker" "$work/$1.properties" >"$work/$1.log" 2>&1 &
    pid[$1]=$!
    until_true "broker $2 is there" ask get "/brokers/ids/$2"
}

start_zookeeper() {
    mkdir -p "$work/zookeeper"
    printf '%s\n' "dataDir=$work/zookeeper" clientPort=21771 clientPortAddress=127.0.0.1 admin.enableServer=false \
        >"$work/zoo.cfg"
    "$bin/zkserver" "$work/zoo.cfg" >"$work/zookeeper.log" 2>&1 &
    pid[zookeeper]=$!
    until_true "the service is there" ask ls /
}

start_noida() {
    mkdir -p "$work/noida"
    # Not by its Python wrapper, which does not hand signals on.
    "$peers/noida-$NOIDA_VERSION"/lib/python3*/site-packages/noida_db/noida-db start --only kafka --kafka-port 21791 --data-dir "$work/noida" \
        >"$work/noida.log" 2>&1 &
    pid[noida]=$!
    until_true "noida-db is there" kcat -b "${servers[noida]}" -L
}

# create TOPIC PARTITIONS REPLICAS: on ours, as a tool does it in the service.
create() {
    local assignment
    assignment=$(awk -v n="$2" -v r="$3" 'BEGIN { for (p = 0; p < n; p++) {
        printf "%s\"%d\":[", p ? "," : "", p
        for (i = 0; i < r; i++) printf "%s%d", i ? "," : "", (p + i) % r + 1
        printf "]" } }')
    ask create "/brokers/topics/$1" "{\"version\":1,\"partitions\":{$assignment}}" >/dev/null 2>&1
    until_true "$1 is led" ask get "/brokers/topics/$1/partitions/$(($2 - 1))/state"
}

delete() { ask create "/admin/delete_topics/$1" >/dev/null 2>&1; }

# create_at_noida TOPIC PARTITIONS
create_at_noida() {
    "$peers/noida-$NOIDA_VERSION/bin/python" - "${servers[noida]}" "$1" "$2" <<'PYTHON'
import sys
from kafka import KafkaAdminClient
KafkaAdminClient(bootstrap_servers=sys.argv[1]).create_topics(
    {sys.argv[2]: {"num_partitions": int(sys.argv[3]), "replication_factor": 1}}, wait_for_metadata=True)
PYTHON
}

# seconds COMMAND..: how long it took.
seconds() {
    local began=${EPOCHREALTIME/./}
    "$@" >/dev/null
    awk -v us=$((${EPOCHREALTIME/./} - began)) 'BEGIN { printf "%.3f", us / 1e6 }'
}
rate() { awk -v bytes=$((records * record_bytes)) -v s="$1" 'BEGIN { printf "%.0f\n", bytes / s / 1e6 }'; }

produce() { # SERVERS TOPIC ACKS
    kcat -P -q -b "$1" -t "$2" -X "acks=$3" -X linger.ms=5 -X batch.size=1000000 \
        -X queue.buffering.max.messages=500000 -X queue.buffering.max.kbytes=512000 -l "$work/records"
}
# At a partition's end a fetch would wait for more, for half a second; and noida-db answers with all it has, whatever it is
# asked for.
fetch() { # SERVERS TOPIC
    kcat -C -q -b "$1" -t "$2" -o beginning -e -X fetch.wait.max.ms=5 -X receive.message.max.bytes=1000000000
}
write_to_disk() { dd if="$work/records" of="$work/copy" bs=1M status=none "$@"; rm "$work/copy"; }
copy_over_tcp() {
    python3 - "$work/records" <<'PYTHON'
import os, socket, sys
listener = socket.create_server(("127.0.0.1", 0))
if os.fork() == 0:
    with socket.create_connection(listener.getsockname()) as out, open(sys.argv[1], "rb") as source:
        while os.sendfile(out.fileno(), source.fileno(), None, 1 << 24):
            pass
    os._exit(0)
taken, buffer = listener.accept()[0], bytearray(1 << 20)
while taken.recv_into(buffer):
    pass
os.wait()
PYTHON
}

declare -A seen=()
# measure NAME COMMAND..: a round of it, on a disk that has nothing else to write.
measure() {
    local name=$1
    shift
    sync -f "$work"
    seen[$name]+="$(rate "$(seconds "$@")")"$'\n'
}
result() { printf '%s' "${seen[$1]:-}" | median; }

# check SERVERS TOPIC: everything that was produced is there.
check() {
    local found
    found=$(fetch "$1" "$2" | wc -l)
    [ "$found" -eq "$records" ] || { echo "$2: $found records of $records on $1" >&2; exit 1; }
}

throughput() {
    local round name topic acks
    # Printable, and what no codec makes smaller.
    base64 -w $((record_bytes - 1)) /dev/urandom 2>/dev/null | head -n "$records" >"$work/records" || true
    start_zookeeper
    start_broker ours 1
    start_noida
    for ((round = 0; round < rounds; round++)); do
        measure file write_to_disk
        measure disk write_to_disk conv=fsync
        measure tcp copy_over_tcp
        for acks in 1 all; do
            topic="acks-$acks-$round"
            create "$topic" $topic_partitions 1
            create_at_noida "$topic" $topic_partitions
            measure "ours-$acks" produce "${servers[ours]}" "$topic" "$acks"
            measure "noida-$acks" produce "${servers[noida]}" "$topic" "$acks"
        done
        check "${servers[ours]}" "$topic"
        check "${servers[noida]}" "$topic"
        measure ours-fetch fetch "${servers[ours]}" "$topic"
        measure noida-fetch fetch "${servers[noida]}" "$topic"
        for acks in 1 all; do delete "acks-$acks-$round"; done
    done
    stop noida
    start_broker second 2
    start_broker third 3
    for ((round = 0; round < rounds; round++)); do
        topic="replicated-$round"
        create "$topic" $topic_partitions 3
        measure three-all produce "${servers[three]}" "$topic" all
        check "${servers[three]}" "$topic"
        measure three-fetch fetch "${servers[three]}" "$topic"
        delete "$topic"
    done
    stop_all
    local file disk tcp
    file=$(result file) disk=$(result disk) tcp=$(result tcp)
    echo "$records records of $record_bytes bytes in $topic_partitions partitions, MB/s, the median of $rounds rounds." \
        "The machine's limits: a file is written at $file MB/s, with a sync at the end at $disk MB/s, a copy over TCP" \
        "goes at $tcp MB/s."
    echo
    echo "| MB/s | ours | : file | : synced file | : TCP | noida-db | ours : noida-db |"
    echo "| --- | --- | --- | --- | --- | --- | --- |"
    local row label ours
    while IFS='|' read -r row label; do
        ours=$(result "$row")
        name=$(result "${row/ours/noida}")
        [[ $row = ours-* ]] || name=-
        echo "| $label | $ours | $(ratio "$ours" "$file") | $(ratio "$ours" "$disk") | $(ratio "$ours" "$tcp") |" \
            "$name | $(ratio "$ours" "$name") |"
    done <<'ROWS'
ours-1|produce, acks=1
ours-all|produce, acks=all, one replica
three-all|produce, acks=all, three replicas on three brokers
ours-fetch|fetch
three-fetch|fetch, of three brokers
ROWS
    echo
}

resident() { awk '/^VmRSS/ { printf "%.1f", $2 / 1024 }' "/proc/${pid[$1]}/status"; }

memory() {
    start_zookeeper
    start_broker ours 1
    local before
    before=$(resident ours)
    create many $partitions 1
    until_true "all partitions are served" sh -c \
        "kcat -b ${servers[ours]} -L -t many | grep -c 'leader 1,' | grep -qx $partitions"
    echo "An idle broker has $before MiB resident, one with $partitions partitions $(resident ours) MiB."
    stop_all
}

for part in throughput memory; do
    [ "$only" = all ] || [ "$only" = "$part" ] || continue
    rm -rf "${work:?}"/*
    "$part"
done
