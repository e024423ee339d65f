//! `audit.enable`: a line for every write of a client that was done or refused, under the target `audit`. Lines and
//! levels are those of ZooKeeper's `Slf4jAuditLogger`: pairs of `key=value` with tabs between them, in a fixed order.

use std::fmt::Write;
use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use jute::data::{Acl, Id, perms};
use jute::multi::{MultiOp, MultiRequest, MultiResult};
use jute::proto::{CreateRequest, CreateTtlRequest, DeleteRequest, SetAclRequest, SetDataRequest};
use jute::{CreateMode, Jute, Op, Ustring};
use tracing::{error, info};

use super::four_letter::user_name;
use crate::auth::Schemes;
use crate::node::ReplyBody;
use crate::session::SessionId;

/// A write that is under way, as it was asked for.
#[derive(Debug)]
pub(super) struct Audited {
    pub(super) session: SessionId,
    pub(super) address: IpAddr,
    pub(super) identities: Arc<[Id]>,
    pub(super) op: Op,
    pub(super) body: Bytes,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Success,
    Failure,
    /// It was asked for; how it ends, nobody will be there to say.
    Invoked,
}

/// An operation and what it was done to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Deed {
    operation: &'static str,
    path: Option<Ustring>,
    mode: Option<&'static str>,
    acl: Option<String>,
}

impl Audited {
    /// Operations that leave a line.
    pub(super) fn is_due(op: Op) -> bool {
        matches!(
            op,
            Op::Create
                | Op::Create2
                | Op::CreateContainer
                | Op::CreateTtl
                | Op::Delete
                | Op::SetData
                | Op::SetAcl
                | Op::Multi
                | Op::Reconfig
        )
    }

    /// It was answered.
    pub(super) fn report(&self, is_refused: bool, body: &ReplyBody, schemes: &Schemes) {
        for (deed, outcome) in self.deeds(is_refused, body) {
            log(&self.line(&deed, outcome, schemes), outcome);
        }
    }

    fn deeds(&self, is_refused: bool, body: &ReplyBody) -> Vec<(Deed, Outcome)> {
        if let (Op::Multi, false, ReplyBody::Multi(response)) = (self.op, is_refused, body) {
            return self.parts(&response.results);
        }
        let outcome = if is_refused { Outcome::Failure } else { Outcome::Success };
        // What cannot be read was refused for that, and nobody can say what it was.
        let Some(mut deed) = self.deed() else { return Vec::new() };
        if let ReplyBody::Path(path) | ReplyBody::PathStat(path, _) = body {
            deed.path = Some(path.clone()); // With the number it was given.
        }
        vec![(deed, outcome)]
    }

    fn deed(&self) -> Option<Deed> {
        Some(match self.op {
            Op::Create | Op::Create2 | Op::CreateContainer => {
                let asked = CreateRequest::from_bytes(&self.body).ok()?;
                Deed { mode: mode_name(asked.flags), ..Deed::new("create", asked.path) }
            }
            Op::CreateTtl => {
                let asked = CreateTtlRequest::from_bytes(&self.body).ok()?;
                Deed { mode: mode_name(asked.flags), ..Deed::new("create", asked.path) }
            }
            Op::Delete => Deed::new("delete", DeleteRequest::from_bytes(&self.body).ok()?.path),
            Op::SetData => Deed::new("setData", SetDataRequest::from_bytes(&self.body).ok()?.path),
            Op::SetAcl => {
                let asked = SetAclRequest::from_bytes(&self.body).ok()?;
                Deed { acl: Some(acl_text(&asked.acl)), ..Deed::new("setAcl", asked.path) }
            }
            Op::Multi => Deed { operation: "multiOperation", ..Deed::default() },
            Op::Reconfig => Deed { operation: "reconfig", ..Deed::default() },
            _ => return None,
        })
    }

    /// A line for each part that changed something, or one for the whole where a part was refused.
    fn parts(&self, results: &[MultiResult]) -> Vec<(Deed, Outcome)> {
        if results.iter().any(|result| matches!(result, MultiResult::Error(_))) {
            let deed = Deed { operation: "multiOperation", ..Deed::default() };
            return vec![(deed, Outcome::Failure)];
        }
        let Ok(asked) = MultiRequest::from_bytes(&self.body) else { return Vec::new() };
        let deed = |(asked, result): (MultiOp, &MultiResult)| {
            let created = match result {
                MultiResult::Create(created) => Some(created.path.clone()),
                MultiResult::Create2(created) => Some(created.path.clone()),
                _ => None,
            };
            Some(match asked {
                MultiOp::Create(asked) | MultiOp::Create2(asked) | MultiOp::CreateContainer(asked) => Deed {
                    mode: mode_name(asked.flags),
                    ..Deed::new("create", created.unwrap_or(asked.path))
                },
                MultiOp::CreateTtl(asked) => Deed {
                    mode: mode_name(asked.flags),
                    ..Deed::new("create", created.unwrap_or(asked.path))
                },
                MultiOp::Delete(asked) => Deed::new("delete", asked.path),
                MultiOp::SetData(asked) => Deed::new("setData", asked.path),
                _ => return None,
            })
        };
        asked.ops.into_iter().zip(results).filter_map(deed).map(|deed| (deed, Outcome::Success)).collect()
    }

    fn line(&self, deed: &Deed, outcome: Outcome, schemes: &Schemes) -> String {
        let users: Vec<_> = schemes.describe(&self.identities).into_iter().map(|info| info.user).collect();
        let users: Vec<&str> =
            users.iter().map(|user| &**user).filter(|user| !user.trim().is_empty()).collect();
        line(
            &[
                ("session", Some(self.session.to_string())),
                ("user", Some(users.join(",")).filter(|users| !users.is_empty())),
                ("ip", Some(self.address.to_string())),
                ("operation", Some(deed.operation.to_owned())),
                ("znode", deed.path.as_ref().map(ToString::to_string)),
                ("znode_type", deed.mode.map(str::to_owned)),
                ("acl", deed.acl.clone()),
            ],
            outcome,
        )
    }
}

impl Deed {
    fn new(operation: &'static str, path: Ustring) -> Self {
        Self { operation, path: Some(path), ..Self::default() }
    }
}

/// An ephemeral znode went with its session.
pub(super) fn report_ephemeral(session: SessionId, path: &str) {
    let fields = [
        ("session", Some(session.to_string())),
        ("user", Some(user_name())),
        ("operation", Some("ephemeralZNodeDeletionOnSessionCloseOrExpire".to_owned())),
        ("znode", Some(path.to_owned())),
    ];
    log(&line(&fields, Outcome::Success), Outcome::Success);
}

/// The server starts or stops.
pub(super) fn report_server(operation: &'static str, outcome: Outcome) {
    let fields = [("user", Some(user_name())), ("operation", Some(operation.to_owned()))];
    log(&line(&fields, outcome), outcome);
}

fn line(fields: &[(&str, Option<String>)], outcome: Outcome) -> String {
    let mut line = String::new();
    for (key, value) in fields.iter().filter_map(|(key, value)| Some((key, value.as_ref()?))) {
        // Writing to a string cannot fail.
        let _ = write!(line, "{key}=");
        // A refused path may hold anything; it must not make up lines of its own.
        for c in value.chars() {
            let _ = if c.is_control() { write!(line, "{}", c.escape_default()) } else { write!(line, "{c}") };
        }
        line.push('\t');
    }
    line.push_str(match outcome {
        Outcome::Success => "result=success",
        Outcome::Failure => "result=failure",
        Outcome::Invoked => "result=invoked",
    });
    line
}

fn log(line: &str, outcome: Outcome) {
    match outcome {
        Outcome::Failure => error!(target: "audit", "{line}"),
        Outcome::Success | Outcome::Invoked => info!(target: "audit", "{line}"),
    }
}

/// Java's name of the constant, in small letters.
fn mode_name(flags: i32) -> Option<&'static str> {
    Some(match CreateMode::from_code(flags)? {
        CreateMode::Persistent => "persistent",
        CreateMode::Ephemeral => "ephemeral",
        CreateMode::PersistentSequential => "persistent_sequential",
        CreateMode::EphemeralSequential => "ephemeral_sequential",
        CreateMode::Container => "container",
        CreateMode::PersistentWithTtl => "persistent_with_ttl",
        CreateMode::PersistentSequentialWithTtl => "persistent_sequential_with_ttl",
    })
}

/// `world:anyone:cdrwa`, one behind the other with nothing between.
fn acl_text(acl: &[Acl]) -> String {
    let mut text = String::new();
    for Acl { perms, id } in acl {
        let _ = write!(text, "{}:{}:{}", id.scheme, id.id, perms::letters(*perms));
    }
    text
}
