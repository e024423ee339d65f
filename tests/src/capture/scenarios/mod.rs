//! The script. Scenarios use paths of their own, since all run against the same server.

mod access;
mod broken;
mod connecting;
mod multis;
mod reads;
mod reaping;
mod watching;
mod writes;

use super::Scenario;

/// All of them, those that depend on time last.
pub const ALL: &[Scenario] = &[
    Scenario { name: "handshake", run: connecting::handshake },
    Scenario { name: "reconnecting", run: connecting::reconnecting },
    Scenario { name: "four-letter words", run: connecting::words },
    Scenario { name: "create", run: writes::create_in_order_of_errors },
    Scenario { name: "paths", run: writes::paths },
    Scenario { name: "kinds of znodes", run: writes::kinds },
    Scenario { name: "sequential names", run: writes::sequential },
    Scenario { name: "delete", run: writes::deletes },
    Scenario { name: "setData", run: writes::sets },
    Scenario { name: "quotas", run: writes::quotas },
    Scenario { name: "null data", run: reads::null_data },
    Scenario { name: "reads", run: reads::reads },
    Scenario { name: "service znodes", run: reads::service_znodes },
    Scenario { name: "ephemerals", run: reads::ephemerals },
    Scenario { name: "ACLs refused", run: access::refused_acls },
    Scenario { name: "ACLs and auth", run: access::permissions },
    Scenario { name: "auth failures", run: access::auth_failures },
    Scenario { name: "redaction", run: access::redaction },
    Scenario { name: "multi", run: multis::succeeding },
    Scenario { name: "failing multi", run: multis::failing },
    Scenario { name: "multiRead", run: multis::reading },
    Scenario { name: "one-shot watches", run: watching::one_shot },
    Scenario { name: "watches on two connections", run: watching::two_connections },
    Scenario { name: "persistent watches", run: watching::persistent },
    Scenario { name: "removing watches", run: watching::removing },
    Scenario { name: "setWatches", run: watching::replayed },
    Scenario { name: "events and ACLs", run: watching::filtered },
    Scenario { name: "events of multis and sessions", run: watching::several_at_once },
    Scenario { name: "malformed bodies", run: broken::bodies },
    Scenario { name: "unknown operations", run: broken::operations },
    Scenario { name: "broken frames", run: broken::frames },
    Scenario { name: "containers and TTL", run: reaping::containers_and_ttl },
];
