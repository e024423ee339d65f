//! The script. Scenarios use paths of their own, since all run against the same server.

mod access;
mod broken;
mod connecting;
mod multis;
mod reads;
mod reaping;
mod watch_kinds;
mod watching;
mod writes;

use super::Scenario;

/// All of them, those that depend on time last.
pub const ALL: &[Scenario] = &[
    Scenario { name: "handshake", run: connecting::handshake },
    Scenario { name: "reconnecting", run: connecting::reconnecting },
    Scenario { name: "expiring", run: connecting::expiring },
    Scenario { name: "closing", run: connecting::closing },
    Scenario { name: "pipelined", run: connecting::pipelined },
    Scenario { name: "four-letter words", run: connecting::words },
    Scenario { name: "create", run: writes::create_in_order_of_errors },
    Scenario { name: "creating", run: writes::creating },
    Scenario { name: "versions", run: writes::versions },
    Scenario { name: "paths", run: writes::paths },
    Scenario { name: "kinds of znodes", run: writes::kinds },
    Scenario { name: "sequential names", run: writes::sequential },
    Scenario { name: "delete", run: writes::deletes },
    Scenario { name: "setData", run: writes::sets },
    Scenario { name: "quotas", run: writes::quotas },
    Scenario { name: "odd quotas", run: writes::odd_quotas },
    Scenario { name: "null data", run: reads::null_data },
    Scenario { name: "reads", run: reads::reads },
    Scenario { name: "service znodes", run: reads::service_znodes },
    Scenario { name: "ephemerals", run: reads::ephemerals },
    Scenario { name: "ACLs refused", run: access::refused_acls },
    Scenario { name: "IPv6 in ACLs", run: access::long_addresses },
    Scenario { name: "ACLs and auth", run: access::permissions },
    Scenario { name: "single permissions", run: access::single_permissions },
    Scenario { name: "auth failures", run: access::auth_failures },
    Scenario { name: "redaction", run: access::redaction },
    Scenario { name: "multi", run: multis::succeeding },
    Scenario { name: "failing multi", run: multis::failing },
    Scenario { name: "multi failing anywhere", run: multis::failing_anywhere },
    Scenario { name: "modes in a multi", run: multis::modes },
    Scenario { name: "multiRead", run: multis::reading },
    Scenario { name: "one-shot watches", run: watching::one_shot },
    Scenario { name: "watches on two connections", run: watching::two_connections },
    Scenario { name: "persistent watches", run: watching::persistent },
    Scenario { name: "removing watches", run: watching::removing },
    Scenario { name: "kinds of watches", run: watch_kinds::each_by_each },
    Scenario { name: "pairs of watches", run: watch_kinds::pairs },
    Scenario { name: "recursive watches", run: watch_kinds::recursive },
    Scenario { name: "watches on the root", run: watch_kinds::root },
    Scenario { name: "missed events", run: watch_kinds::missed },
    Scenario { name: "setWatches", run: watching::replayed },
    Scenario { name: "events and ACLs", run: watching::filtered },
    Scenario { name: "events of multis and sessions", run: watching::several_at_once },
    Scenario { name: "malformed bodies", run: broken::bodies },
    Scenario { name: "deleteContainer", run: broken::containers },
    Scenario { name: "nulls", run: broken::nulls },
    Scenario { name: "texts", run: broken::texts },
    Scenario { name: "xids", run: broken::xids },
    Scenario { name: "longest frames", run: broken::longest },
    Scenario { name: "beginnings", run: broken::beginnings },
    Scenario { name: "unknown operations", run: broken::operations },
    Scenario { name: "broken frames", run: broken::frames },
    Scenario { name: "containers and TTL", run: reaping::containers_and_ttl },
];
