#!/usr/bin/env bash
# Captures what a real ZooKeeper server leaves on its disk, for tests/fixtures/java_data_dir: several logs and
# snapshots with every kind of znode, a session that was alive when the server was killed, one snapshot in each
# compression, and what ZooKeeper's own tools print of some of these files.
#
# Usage: scripts/capture-java-data-dir.sh [target directory] [port]
set -euo pipefail

target=$(realpath -m "${1:-$(dirname "$0")/../tests/fixtures/java_data_dir}")
port=${2:-21219}
jars=/usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill -9 "$server" 2>/dev/null || true; rm -rf "$work"' EXIT

printf 'tickTime=500\ndataDir=%s/data\nclientPort=%s\nclientPortAddress=127.0.0.1\n' "$work" "$port" >"$work/zoo.cfg"

start() { # start [property..]
    java -Xmx256m -XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Dzookeeper.admin.enableServer=false \
        -Dzookeeper.extendedTypesEnabled=true -Dzookeeper.preAllocSize=8 -Dzookeeper.snapCount=24 "$@" \
        -cp "$jars" org.apache.zookeeper.server.quorum.QuorumPeerMain "$work/zoo.cfg" >"$work/server.log" 2>&1 &
    server=$!
    for _ in $(seq 100); do
        (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && return
        sleep 0.1
    done
    echo "the server does not listen, see $work/server.log" >&2
    exit 1
}

stop() {
    kill -9 "$server"
    wait "$server" 2>/dev/null || true
    server=
}

shell() { /usr/share/zookeeper/bin/zkCli.sh -server "127.0.0.1:$port" >"$work/shell.log" 2>&1 || true; }

start
shell <<'COMMANDS'
create /app "first"
create -c /container in
create -t 600000 /ttl kept
create /empty ""
create /null
create -s /app/item- 1
create -s /app/item- 2
create -s /app/item- 3
delete /app/item-0000000001
create /app/deep 1
create /app/deep/er 2
create /app/ümlaut "grün"
addauth digest bob:secret
create /private secret auth::cdrwa
set /app second
setAcl /container world:anyone:r
setquota -n 10 /app
create /app/deep
delete /nothing
quit
COMMANDS
# Enough for some snapshots.
seq 60 | sed 's/.*/set \/app\/deep value-&/' | shell
stop
start
# A session that lives on, with ephemeral znodes, while another goes and takes its own along.
(printf 'create -e /lives mine\ncreate -e -s /app/lives- mine\n'; sleep 6) | shell &
sleep 3
printf 'create -e /gone mine\nset /app third\nquit\n' | shell
printf 'reconfig -add x\nset /app fourth\ncreate /last one\nquit\n' | shell
stop
wait

rm -rf "$target"
mkdir -p "$target/version-2"
cp "$work"/data/version-2/log.* "$work"/data/version-2/snapshot.* "$target/version-2/"

tool() { java -Duser.timezone=UTC -Duser.language=en -cp "$jars" "org.apache.zookeeper.server.$@"; }
newest_log=$(ls -v "$target"/version-2/log.* | tail -1)
newest_snapshot=$(ls -v "$target"/version-2/snapshot.* | tail -1)
tool persistence.TxnLogToolkit -d "$newest_log" >"$target/log.txt"
tool SnapshotFormatter -d "$newest_snapshot" >"$target/snapshot.txt"

for method in gz snappy; do
    start "-Dzookeeper.snapshot.compression.method=$method"
    seq 40 | sed 's/.*/set \/app\/deep '"$method"'-&/' | shell
    stop
    cp "$(ls -t "$work"/data/version-2/snapshot.*."$method" | head -1)" "$target/"
done
ls -la "$target" "$target/version-2"
