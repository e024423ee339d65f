#!/usr/bin/env bash
# What takes hours: the tests' own code with larger numbers. Prints what each part did.
#   CRASH_ROUNDS (200)    kills of a server under load, and about as many while it recovers
#   CHAOS_ROUNDS (100)    faults under load for each composition of a real ensemble, ours and Java's
#   BROKER_ROUNDS (50)    kills of partition leaders, controllers, coordination leaders, and stops, under a producer's load
#   SIM_SEEDS (500000)    simulated crashes, and as many simulated ensembles and storms of clients
#   DAMAGED_BYTES (20000) bytes of a data directory damaged, one at a time
#   FUZZ_SECONDS (600)    for each fuzz target
set -euo pipefail
cd "$(dirname "$0")/.."

scripts/install-build-deps.sh
scripts/install-test-peers.sh

MENAGERIE_CRASH_ROUNDS="${CRASH_ROUNDS:-200}" cargo test --release --locked -p tests --test crash -- --nocapture
MENAGERIE_CHAOS_ROUNDS="${CHAOS_ROUNDS:-100}" cargo test --release --locked -p tests --test ensemble_chaos -- \
    --nocapture --test-threads=1
MENAGERIE_BROKER_ROUNDS="${BROKER_ROUNDS:-50}" cargo test --release --locked -p tests --test broker_chaos -- --nocapture
MENAGERIE_SIM_SEEDS="${SIM_SEEDS:-500000}" cargo test --release --locked -p tests --test sim --test sim_ensemble -- \
    --nocapture
MENAGERIE_STORM_SEEDS="${SIM_SEEDS:-500000}" cargo test --release --locked -p server --lib storm -- --nocapture
MENAGERIE_DAMAGED_BYTES="${DAMAGED_BYTES:-20000}" cargo test --release --locked -p tests --test damage -- --nocapture
scripts/fuzz.sh "${FUZZ_SECONDS:-600}"
