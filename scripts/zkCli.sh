#!/usr/bin/env bash
# The shell, with zkCli.sh's arguments.
set -euo pipefail
ZOOBINDIR="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
. "$ZOOBINDIR/zkEnv.sh"

cli="$(program zkcli)"
exec "$cli" "$@"
