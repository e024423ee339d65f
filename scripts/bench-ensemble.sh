# The part of bench-compare.sh for three servers of each kind on this machine. Sourced by it.

members=(1 2 3)
kill_rounds=$((rounds * 2 + 1))
hang_seconds=30
# Where server 1 of each kind listens; the others on the next ports, and for each other 10 and 20 ports above.
port[java]=21761 port[ours]=21791 port[limit]=21821

member_port() { echo $((port[$1] + $2 - 1)); }

# launch_member KIND ID: starts one server on its data of last time.
launch_member() {
    local kind=$1 id=$2 home="$work/$1.$2"
    mkdir -p "$home"
    if [ "$kind" = limit ]; then launch_echo "$id" "$home"; else launch_zookeeper "$kind" "$id" "$home"; fi
    pid[$kind.$id]=$!
}

# launch_echo ID HOME: the first one leads.
launch_echo() {
    local part=--follows
    [ "$1" != 1 ] || part=--leads
    "$bin/zkbench" echo-server --listen "127.0.0.1:$(member_port limit "$1")" --sync-to "$2/log" \
        "$part" "127.0.0.1:$((port[limit] + 10))" >>"$2.log" 2>&1 &
}

# launch_zookeeper KIND ID HOME: Java's server or ours.
launch_zookeeper() {
    local kind=$1 id=$2 home=$3 config="$3.cfg" other
    echo "$id" >"$home/myid"
    {
        printf '%s\n' tickTime=2000 initLimit=10 syncLimit=5 maxSessionTimeout=600000 "dataDir=$home" \
            "clientPort=$(member_port "$kind" "$id")" clientPortAddress=127.0.0.1 maxClientCnxns=0 \
            admin.enableServer=false '4lw.commands.whitelist=srvr'
        for other in "${members[@]}"; do
            echo "server.$other=127.0.0.1:$((port[$kind] + 9 + other)):$((port[$kind] + 19 + other))"
        done
    } >"$config"
    case "$kind" in
        java) java -Xmx2g -cp /usr/share/java/zookeeper.jar:/usr/share/java/slf4j-nop.jar \
            org.apache.zookeeper.server.quorum.QuorumPeerMain "$config" >>"$home.log" 2>&1 & ;;
        ours) "$bin/zkserver" "$config" >>"$home.log" 2>&1 & ;;
    esac
}

# start_member KIND ID: the same, and waits; `took` is then the time to the first read.
start_member() {
    launch_member "$@"
    took=$("$bin/zkbench" --json first-read --servers "127.0.0.1:$(member_port "$@")" | field seconds)
}

start_ensemble() {
    local id
    for id in "${members[@]}"; do launch_member "$1" "$id"; done
    for id in "${members[@]}"; do
        "$bin/zkbench" --json first-read --servers "127.0.0.1:$(member_port "$1" "$id")" >/dev/null
    done
}

stop_ensemble() { local id; for id in "${members[@]}"; do stop "$1.$id"; done; }

crash() { kill -KILL "${pid[$1]}"; forget "$1"; }
forget() { wait "${pid[$1]}" 2>/dev/null || true; pid[$1]=; }

# bench_ensemble KIND COMMAND ARGUMENTS..: one JSON line from a measurement over all servers of that kind.
bench_ensemble() {
    local kind=$1 command=$2 servers
    shift 2
    servers=$(for id in "${members[@]}"; do printf ',127.0.0.1:%s' "$(member_port "$kind" "$id")"; done)
    "$bin/zkbench" --json "$command" --servers "${servers#,}" "$@"
}

mode() {
    { exec 3<>"/dev/tcp/127.0.0.1/$(member_port "$1" "$2")" && printf srvr >&3 && timeout 2 cat <&3; } 2>/dev/null |
        sed -n 's/^Mode: //p'
}

# with_mode KIND MODE: the first server that is in it.
with_mode() {
    local id attempt
    for attempt in $(seq 100); do
        for id in "${members[@]}"; do
            [ "$(mode "$1" "$id" || true)" != "$2" ] || { echo "$id"; return; }
        done
        sleep 0.1
    done
    echo "no server of $1 is $2" >&2
    return 1
}

ensemble_cells() {
    local kind
    start_ensemble limit
    for kind in java ours; do
        start_ensemble "$kind"
        bench_ensemble "$kind" run --ops set --clients 15 --outstanding 64 --seconds "$((rounds * 2))" >/dev/null
        bench_ensemble "$kind" run --ops get --clients 15 --outstanding 64 --seconds "$((rounds * 2))" >/dev/null
    done
    table
    cell bench_ensemble set 15 1 limit 2.5 -
    cell bench_ensemble set 255 1 limit 2.0 0.70
    cell bench_ensemble set 15 64 limit 8 -
    cell bench_ensemble get 15 64 limit 12 -
    cell bench_ensemble get=90,set=10 15 64 limit 10 -
    cell bench_ensemble create 15 64 limit 12 -
    for kind in java ours limit; do stop_ensemble "$kind"; rm -rf "$work/$kind".*; done
}

in_ms() { awk '{ printf "%.0f", $1 * 1000 }'; }
maximum() { sort -g | tail -n 1; }

# kills KIND: the leader is killed, over and over. Sets gaps and returns, a line each.
kills() {
    local leader round
    gaps='' returns=''
    for ((round = 0; round < kill_rounds; round++)); do
        leader=$(with_mode "$1" leader)
        gaps+="$(bench_ensemble "$1" failover --seconds 4 --exec-after 1.5 --exec "kill -KILL ${pid[$1.$leader]}" |
            field longest_gap_seconds)"$'\n'
        forget "$1.$leader"
        start_member "$1" "$leader"
        returns+="$took"$'\n'
    done
}

# hang KIND: the leader is stopped like a process in a debugger. Sets `gap`.
hang() {
    local leader
    leader=$(with_mode "$1" leader)
    gap=$(bench_ensemble "$1" failover --seconds "$hang_seconds" --exec-after 1.5 \
        --exec "kill -STOP ${pid[$1.$leader]}" | field longest_gap_seconds)
    crash "$1.$leader"
    start_member "$1" "$leader"
}

# away KIND: sets `took` to what a follower needed that had missed so many writes.
away() {
    local follower missed=0 line
    follower=$(with_mode "$1" follower)
    crash "$1.$follower"
    while [ "$missed" -lt "$znodes" ]; do
        line=$(bench_to_others "$1" "$follower" run --ops set --clients 15 --outstanding 64 --seconds 5 --warmup 0)
        missed=$((missed + $(field requests <<<"$line" | cut -d. -f1)))
    done
    start_member "$1" "$follower"
}

# bench_to_others KIND ID ..: as bench_ensemble, but for that server.
bench_to_others() {
    local kind=$1 without=$2 id
    local members_then=("${members[@]}")
    shift 2
    members=()
    for id in "${members_then[@]}"; do [ "$id" = "$without" ] || members+=("$id"); done
    bench_ensemble "$kind" "$@"
    members=("${members_then[@]}")
}

# newcomer KIND: sets `took` to what a server with an empty disk needed that joins a large tree.
newcomer() {
    local follower
    bench_ensemble "$1" fill --count "$znodes" >/dev/null
    follower=$(with_mode "$1" follower)
    crash "$1.$follower"
    rm -rf "$work/$1.$follower"
    start_member "$1" "$follower"
}

failover() {
    declare -A row=()
    local kind gaps returns gap
    for kind in java ours; do
        start_ensemble "$kind"
        kills "$kind"
        row[gap,$kind]="$(printf '%s' "$gaps" | median | in_ms) / $(printf '%s' "$gaps" | maximum | in_ms)"
        row[back,$kind]="$(printf '%s' "$returns" | median | in_ms) / $(printf '%s' "$returns" | maximum | in_ms)"
        hang "$kind"
        row[hang,$kind]=$gap
        away "$kind"
        row[away,$kind]=$took
        newcomer "$kind"
        row[newcomer,$kind]=$took
        stop_ensemble "$kind"
        rm -rf "$work/$kind".*
    done
    echo "| what | Java | ours | budget |"
    echo "| --- | --- | --- | --- |"
    echo "| leader killed, no write for, ms: median / longest of $kill_rounds | ${row[gap,java]} | ${row[gap,ours]} | 100 / 250 |"
    echo "| the killed server back in, ms: median / longest | ${row[back,java]} | ${row[back,ours]} | 200 |"
    echo "| leader hangs, no write for, s (syncLimit 10 s) | ${row[hang,java]} | ${row[hang,ours]} | 10 and an election |"
    echo "| back in after $znodes writes, s | ${row[away,java]} | ${row[away,ours]} | - |"
    echo "| back in with an empty disk, $znodes znodes, s | ${row[newcomer,java]} | ${row[newcomer,ours]} | - |"
}
