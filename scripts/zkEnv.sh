# Sourced by zkServer.sh and zkCli.sh: where configuration, logs and programs are. The variables are ZooKeeper's.

if [ $# -gt 1 ] && [ "$1" = "--config" ]; then
    ZOOCFGDIR=$2
    shift 2
fi
ZOOCFGDIR="${ZOOCFGDIR:-$ZOOBINDIR/../conf}"
[ -f "$ZOOCFGDIR/zookeeper-env.sh" ] && . "$ZOOCFGDIR/zookeeper-env.sh"

ZOOCFG="$ZOOCFGDIR/${ZOOCFG:-zoo.cfg}"
ZOO_LOG_DIR="${ZOO_LOG_DIR:-$ZOOBINDIR/../logs}"

# The program $1: beside this script, in the PATH, or where cargo built it.
program() {
    local place root="$ZOOBINDIR/.."
    for place in "$ZOOBINDIR/$1" "$root/bin/$1"; do
        [ -x "$place" ] && echo "$place" && return
    done
    type -P "$1" && return
    for place in "${CARGO_TARGET_DIR:-$root/target}"/{release,debug}/"$1"; do
        [ -x "$place" ] && echo "$place" && return
    done
    echo "Error: $1 is neither beside this script nor in the PATH; build it with: cargo build --release" >&2
    return 1
}
