//! Limits of subtrees: `setquota`, `listquota`, `delquota`. They stand in znodes below `/zookeeper/quota`, at the path of
//! the subtree's root: `zookeeper_limits` is the limit, `zookeeper_stats` what is used.

use std::collections::BTreeMap;
use std::fmt;

use client::{CreateMode, Data, Error, ErrorCode};

use super::read;
use crate::arguments::Arguments;
use crate::failure::{Failure, check_path};
use crate::output;
use crate::session::Session;

const ROOT: &str = "/zookeeper/quota";
const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";

/// Numbers by name, as quota znodes hold them. `StatsTrack`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Track(BTreeMap<String, i64>);

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

impl Track {
    fn parse(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            Some((parts.next()?.to_owned(), parts.next()?.parse().unwrap_or(-1)))
        });
        Self(pairs.collect())
    }

    /// No limit is -1.
    fn value(&self, name: &str) -> i64 {
        self.0.get(name).copied().unwrap_or(-1)
    }

    fn set(&mut self, name: &str, value: i64) {
        self.0.insert(name.to_owned(), value);
    }

    fn to_data(&self) -> Data {
        Data::from(self.to_string())
    }
}

impl fmt::Display for Track {
    /// Servers before 3.7 read count and bytes, and stop at the second `=` behind them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{COUNT}={},{BYTES}={}", self.value(COUNT), self.value(BYTES))?;
        let more: Vec<_> = self.0.iter().filter(|(name, _)| *name != COUNT && *name != BYTES).collect();
        if !more.is_empty() {
            f.write_str("=")?;
        }
        more.iter().try_for_each(|(name, value)| write!(f, ";{name}={value}"))
    }
}

fn limits_of(path: &str) -> String {
    format!("{ROOT}{path}/{LIMITS}")
}

fn stats_of(path: &str) -> String {
    format!("{ROOT}{path}/{STATS}")
}

pub(super) async fn list(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    output::error_line(&format!("absolute path is {}", limits_of(path)));
    check_path(&limits_of(path))?;
    for (what, at) in [("quota", limits_of(path)), ("stat", stats_of(path))] {
        match session.client.get(&at).await {
            Ok(znode) => output::line(&format!("Output {what} for {path} {}", Track::parse(&znode.data))),
            Err(error) => return missing_is_told(path, error),
        }
    }
    Ok(())
}

pub(super) async fn delete(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    let limits = limits_of(path);
    check_path(&limits)?;
    let znode = match session.client.get(&limits).await {
        Ok(znode) => znode,
        Err(error) if error.code() == Some(ErrorCode::NoNode) => {
            output::line(&format!("Quota does not exist for {path}"));
            return Ok(());
        }
        Err(error) => return Err(Failure::on(&limits, &error)),
    };
    let mut track = Track::parse(&znode.data);
    let lifted = [("n", COUNT), ("b", BYTES), ("N", COUNT_HARD), ("B", BYTES_HARD)];
    let lifted: Vec<_> = lifted.iter().filter(|(option, _)| arguments.has(option)).collect();
    let deleted = if lifted.is_empty() {
        delete_whole(session, path).await
    } else {
        lifted.iter().for_each(|(_, name)| track.set(name, -1));
        session.client.set(&limits, track.to_data(), None).await.map(drop)
    };
    deleted.or_else(|error| missing_is_told(path, error))
}

/// Deletes a quota's znodes, and those above them that nothing else stands below.
async fn delete_whole(session: &Session, path: &str) -> Result<(), Error> {
    let mut at = format!("{ROOT}{path}");
    for child in session.client.children(&at).await? {
        session.client.delete(&format!("{at}/{child}"), None).await?;
    }
    while at != ROOT && session.client.children(&at).await?.is_empty() {
        session.client.delete(&at, None).await?;
        at.truncate(at.rfind('/').unwrap_or(0));
    }
    Ok(())
}

fn missing_is_told(path: &str, error: Error) -> Result<(), Failure> {
    if error.code() == Some(ErrorCode::NoNode) {
        output::error_line(&format!("quota for {path} does not exist."));
        return Ok(());
    }
    Err(Failure::on(path, &error))
}

pub(super) async fn set(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    if path.starts_with(ROOT) {
        output::error_line(&format!("cannot set a quota under the path: {ROOT}"));
        return Ok(());
    }
    let (name, limit) = match limit(arguments) {
        Ok(limit) => limit,
        Err(complaint) => {
            output::error_line(complaint);
            return Ok(());
        }
    };
    check_path(path)?;
    let failed = |error| Failure::on(path, &error);
    if session.client.exists(path).await.map_err(failed)?.is_none() {
        return Err(Failure::new(format!("{path} does not exist.")));
    }
    refuse_quota_below(session, path).await?;
    refuse_quota_above(session, path).await?;
    set_limit(session, path, name, limit).await.map_err(failed)
}

/// The one limit that is given, or what is wrong with it.
fn limit(arguments: &Arguments) -> Result<(&'static str, i64), &'static str> {
    let numbers = "NumberFormatException happens when parsing the option value";
    for (option, name) in [("n", COUNT), ("b", BYTES), ("N", COUNT_HARD), ("B", BYTES_HARD)] {
        let Some(value) = arguments.value(option) else { continue };
        let counts = matches!(name, COUNT | COUNT_HARD);
        let value = if counts { value.parse::<i32>().map(i64::from) } else { value.parse() };
        return match value {
            Err(_) => Err(numbers),
            Ok(value) if counts && value <= 0 => Err("the num quota must be greater than zero"),
            Ok(value) if value < 0 => Err("the bytes quota must be greater than or equal to zero"),
            Ok(value) => Ok((name, value)),
        };
    }
    Err(numbers)
}

/// A subtree has one quota: none may be within another.
async fn refuse_quota_below(session: &Session, path: &str) -> Result<(), Failure> {
    let own = limits_of(path);
    let mut found = Vec::new();
    let root = format!("{ROOT}{path}");
    let visited = read::visit(session, &root, false, |at| {
        if at != own && at.ends_with(&format!("/{LIMITS}")) {
            found.push(at.to_owned());
        }
    });
    match visited.await {
        Err(error) if error.code() != Some(ErrorCode::NoNode) => return Err(Failure::on(path, &error)),
        _ => {}
    }
    let Some(limits) = found.first() else { return Ok(()) };
    let child = limits.trim_start_matches(ROOT).trim_end_matches(LIMITS).trim_end_matches('/');
    Err(Failure::new(format!("{path} has a child {child} which has a quota")))
}

async fn refuse_quota_above(session: &Session, path: &str) -> Result<(), Failure> {
    for (at, _) in path.match_indices('/').skip(1) {
        let parent = &path[..at];
        let limits = session.client.exists(&limits_of(parent)).await;
        if limits.map_err(|error| Failure::on(path, &error))?.is_some() {
            return Err(Failure::new(format!("{path} has a parent {parent} which has a quota")));
        }
    }
    Ok(())
}

async fn set_limit(session: &Session, path: &str, name: &str, limit: i64) -> Result<(), Error> {
    let (limits, stats) = (limits_of(path), stats_of(path));
    if session.client.exists(&limits).await?.is_some() {
        let mut track = Track::parse(&session.client.get(&limits).await?.data);
        track.set(name, limit);
        let used = Track::parse(&session.client.get(&stats).await?.data);
        warn_if_exceeded(&track, &used);
        return session.client.set(&limits, track.to_data(), None).await.map(drop);
    }

    let mut track = Track::default();
    [COUNT, BYTES, COUNT_HARD, BYTES_HARD].iter().for_each(|name| track.set(name, -1));
    track.set(name, limit);
    let parent = format!("{ROOT}{path}");
    session.client.create_all(parent.trim_end_matches('/')).await?;
    session.client.create(&limits, track.to_data(), CreateMode::Persistent).await?;
    // The service counts as soon as the limit stands, and puts what it finds here.
    let mut none = Track::default();
    [COUNT, BYTES].iter().for_each(|name| none.set(name, 0));
    session.client.create(&stats, none.to_data(), CreateMode::Persistent).await?;
    let used = Track::parse(&session.client.get(&stats).await?.data);
    warn_if_exceeded(&track, &used);
    Ok(())
}

fn warn_if_exceeded(limits: &Track, used: &Track) {
    let exceeded = |name: &str, used: i64| (0..used).contains(&limits.value(name));
    let (count, bytes) = (used.value(COUNT), used.value(BYTES));
    if exceeded(COUNT, count) || exceeded(COUNT_HARD, count) {
        output::line(&format!(
            "[Warning]: the count quota you create is less than the existing count:{count}"
        ));
    }
    if exceeded(BYTES, bytes) || exceeded(BYTES_HARD, bytes) {
        output::line(&format!(
            "[Warning]: the bytes quota you create is less than the existing bytes:{bytes}"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_track_is_written_as_old_and_new_servers_read_it() {
        let mut track = Track::default();
        track.set(COUNT, 3);
        assert_eq!(track.to_string(), "count=3,bytes=-1");

        track.set(COUNT_HARD, 6);
        track.set(BYTES_HARD, -1);
        assert_eq!(track.to_string(), "count=3,bytes=-1=;byteHardLimit=-1;countHardLimit=6");
        let read = Track::parse(track.to_string().as_bytes());
        assert_eq!((read.value(COUNT), read.value(BYTES), read.value(COUNT_HARD)), (3, -1, 6));
    }
}
