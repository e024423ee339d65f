//! Who is to belong to the ensemble from now on: the judgement of a `reconfig`. Its errors come in Java's order, with the
//! ACL last.

use std::net::IpAddr;

use jute::proto::ReconfigRequest;
use jute::txn::{SetDataTxn, TxnBody};
use jute::{ErrorCode, Ustring};

use super::Prep;
use crate::config::{Member, Membership, ServerId};
use crate::pipeline::pending::ForeseenData;
use crate::tree::path;
use jute::data::perms;

impl Prep<'_> {
    /// A lone server has no members to exchange.
    pub(super) fn reconfig(&mut self, asked: &ReconfigRequest) -> Result<TxnBody, ErrorCode> {
        if !self.config.reconfig {
            return Err(ErrorCode::ReconfigDisabled);
        }
        self.alive?;
        let peer = self.peer.ok_or(ErrorCode::Unimplemented)?;
        if peer.is_reconfiguring() {
            return Err(ErrorCode::ReconfigInProgress);
        }
        let (current, multi_address) = (peer.membership(), self.config.multi_address);
        if asked.cur_config_id != -1 && asked.cur_config_id != current.version {
            return Err(ErrorCode::BadVersion);
        }
        let members = match &asked.new_members {
            Some(members) => whole(members, multi_address, self.config.standalone)?,
            None => {
                let (joining, leaving) = (asked.joining_servers.as_deref(), asked.leaving_servers.as_deref());
                changed(current, joining, leaving, multi_address)?
            }
        };
        let next = Membership { version: self.zxid, ..members };
        let voters_min = if self.config.standalone { 2 } else { 1 };
        if next.voters().count() < voters_min {
            return Err(ErrorCode::BadArguments);
        }
        if !peer.is_quorum_synced(&next) {
            return Err(ErrorCode::NewConfigNoQuorum);
        }
        self.propose_membership(&next)
    }

    fn propose_membership(&mut self, next: &Membership) -> Result<TxnBody, ErrorCode> {
        let mut znode = self.find(path::CONFIG)?;
        self.check_acl(&znode, perms::WRITE)?;
        let data = Some(next.to_text().into());
        znode.stat.version = -1;
        znode.stat.mtime = self.time_ms;
        znode.stat.mzxid = self.zxid;
        znode.data = ForeseenData::New(Option::clone(&data));
        let path = Ustring::from(path::CONFIG);
        self.outlook.put(path.clone(), znode);
        Ok(TxnBody::Reconfig(SetDataTxn { path, data, version: -1 }))
    }
}

/// All members anew, separated by commas or line ends.
fn whole(members: &str, multi_address: bool, standalone: bool) -> Result<Membership, ErrorCode> {
    let text = members.replace(',', "\n");
    let ids = text.lines().filter_map(|line| line.trim_start().strip_prefix("server.")?.split_once('='));
    if ids.into_iter().any(|(id, _)| id.trim().parse::<i64>().is_err()) {
        return Err(ErrorCode::MarshallingError); // What Java answers where it stumbles.
    }
    let membership = Membership::parse_asked(&text, multi_address).map_err(|_| ErrorCode::BadArguments)?;
    let observers = membership.members.len() - membership.voters().count();
    match membership.voters().count() {
        0 if !standalone || observers > 0 => Err(ErrorCode::MarshallingError),
        1 if standalone && observers > 0 => Err(ErrorCode::MarshallingError),
        _ => Ok(membership),
    }
}

/// The current ones without those that leave, and with those that join; who is there already may join as something
/// else.
fn changed(
    current: &Membership,
    joining: Option<&str>,
    leaving: Option<&str>,
    multi_address: bool,
) -> Result<Membership, ErrorCode> {
    if current.is_hierarchical() {
        return Err(ErrorCode::BadArguments);
    }
    let mut next = current.clone();
    for id in list(leaving) {
        let id = id.parse().map_err(|_| ErrorCode::MarshallingError)?;
        next.members.remove(&ServerId(id));
    }
    for joiner in list(joining) {
        let (id, member) = joiner_of(joiner, multi_address)?;
        let others = next.members.iter().filter(|(other, _)| **other != id);
        if others.into_iter().any(|(_, other)| share_an_address(&member, other)) {
            return Err(ErrorCode::BadArguments);
        }
        next.members.insert(id, member);
    }
    Ok(next)
}

fn list(of: Option<&str>) -> impl Iterator<Item = &str> {
    of.unwrap_or_default().split(',').map(str::trim).filter(|part| !part.is_empty())
}

/// `server.5=host:2888:3888;2181`, with all three ports.
fn joiner_of(text: &str, multi_address: bool) -> Result<(ServerId, Member), ErrorCode> {
    let (key, spec) = text.split_once('=').ok_or(ErrorCode::BadArguments)?;
    let id = key.trim().rsplit('.').next().unwrap_or_default();
    let id = id.parse().map_err(|_| ErrorCode::MarshallingError)?;
    let line = format!("server.{id}={spec}");
    let mut parsed = Membership::parse_asked(&line, multi_address).map_err(|_| ErrorCode::BadArguments)?;
    match parsed.members.remove(&ServerId(id)) {
        Some(member) if member.client.is_some() => Ok((ServerId(id), member)),
        _ => Err(ErrorCode::BadArguments),
    }
}

/// Wildcards and this machine's own loopback do not count.
#[doc(alias = "checkAddressDuplicate")]
fn share_an_address(one: &Member, other: &Member) -> bool {
    let theirs: Vec<_> = endpoints(other).collect();
    endpoints(one).any(|endpoint| theirs.contains(&endpoint))
}

fn endpoints(member: &Member) -> impl Iterator<Item = (&str, u16)> {
    let peers = member.addresses.iter().flat_map(|address| {
        [(address.host.as_str(), address.quorum_port), (address.host.as_str(), address.election_port)]
    });
    let client = member.client.iter().filter_map(|client| Some((client.host.as_deref()?, client.port)));
    peers.chain(client).filter(|(host, _)| {
        let address: Option<IpAddr> = host.parse().ok();
        *host != "localhost" && !address.is_some_and(|ip| ip.is_loopback() || ip.is_unspecified())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const CURRENT: &str = "server.1=a:1:2;3\nserver.2=b:1:2;3\nserver.3=c:1:2;3\nversion=100000000";

    fn current() -> Membership {
        Membership::parse(CURRENT).unwrap()
    }

    /// Where a server has one address.
    fn changed(
        current: &Membership,
        joining: Option<&str>,
        leaving: Option<&str>,
    ) -> Result<Membership, ErrorCode> {
        super::changed(current, joining, leaving, false)
    }

    fn whole(members: &str, standalone: bool) -> Result<Membership, ErrorCode> {
        super::whole(members, false, standalone)
    }

    fn ids(membership: &Membership) -> Vec<i64> {
        membership.members.keys().map(|id| id.0).collect()
    }

    #[test]
    fn some_join_and_some_leave_and_who_joins_again_is_changed() {
        let next = changed(&current(), Some("server.4=d:1:2;3, 2=b:7:8:observer;9"), Some("1,77")).unwrap();
        assert_eq!(ids(&next), [2, 3, 4]);
        assert_eq!(next.voters().map(|id| id.0).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(next.members[&ServerId(2)].addresses[0].quorum_port, 7);
    }

    #[test]
    fn what_cannot_join_is_refused_as_java_refuses_it() {
        for (joining, leaving, error) in [
            (None, Some("one"), ErrorCode::MarshallingError),
            (Some("server.x=d:1:2;3"), None, ErrorCode::MarshallingError),
            (Some("server.4"), None, ErrorCode::BadArguments),
            (Some("server.4=d:1:2"), None, ErrorCode::BadArguments),
            (Some("server.4=d:1:1;3"), None, ErrorCode::BadArguments),
            (Some("server.4=a:1:9;8"), None, ErrorCode::BadArguments),
            (Some("server.4=d:1:2;a:2"), None, ErrorCode::BadArguments),
        ] {
            assert_eq!(changed(&current(), joining, leaving), Err(error), "{joining:?} {leaving:?}");
        }
        let loopback = changed(&current(), Some("server.4=127.0.0.1:1:2;3,server.5=127.0.0.1:1:2;3"), None);
        assert_eq!(ids(&loopback.unwrap()), [1, 2, 3, 4, 5]);
    }

    #[test]
    fn several_addresses_need_to_be_allowed() {
        let joiner = "server.4=d:1:2|e:1:2;3";
        assert_eq!(changed(&current(), Some(joiner), None), Err(ErrorCode::BadArguments));
        assert_eq!(whole(joiner, false), Err(ErrorCode::BadArguments));
        let joined = super::changed(&current(), Some(joiner), None, true).unwrap();
        assert_eq!(joined.members[&ServerId(4)].addresses.len(), 2);
        assert_eq!(
            super::whole(joiner, true, false).unwrap().members,
            [(ServerId(4), joined.members[&ServerId(4)].clone())].into()
        );
    }

    #[test]
    fn groups_change_only_as_a_whole() {
        let groups = "server.1=a:1:2;3\nserver.2=b:1:2;3\ngroup.1=1:2\nweight.1=2";
        let current = Membership::parse(groups).unwrap();
        assert_eq!(changed(&current, None, Some("1")), Err(ErrorCode::BadArguments));
        let anew = whole(&groups.replace('\n', ","), true).unwrap();
        assert_eq!(anew, current);
    }

    #[test]
    fn all_members_anew_are_read_like_a_file() {
        assert_eq!(ids(&whole("server.1=a:1:2;3,server.2=b:1:2;3\nversion=5", true).unwrap()), [1, 2]);
        for (members, standalone, error) in [
            ("server.one=a:1:2;3", true, ErrorCode::MarshallingError),
            ("server.1=a:1:2:observer;3", true, ErrorCode::MarshallingError),
            ("server.1=a:1:2;3,server.2=b:1:2:observer;3", true, ErrorCode::MarshallingError),
            ("", false, ErrorCode::MarshallingError),
            ("dataDir=/d", true, ErrorCode::BadArguments),
            ("server.1=a:1", true, ErrorCode::BadArguments),
            ("server.1=a:1:2;3,group.1=2", true, ErrorCode::BadArguments),
        ] {
            assert_eq!(whole(members, standalone), Err(error), "{members}");
        }
    }
}
