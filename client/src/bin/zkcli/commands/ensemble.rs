//! The service and the session: `config`, `reconfig`, `sync`, `addauth`, `whoami`, `version`, `close`.

use std::fs;

use client::{Error, Reconfig};

use crate::arguments::Arguments;
use crate::failure::{Failure, check_path};
use crate::notices::Kind;
use crate::output;
use crate::properties::property;
use crate::session::Session;

pub(super) async fn config(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let failed = |error| Failure::without_path(&error);
    let config = if arguments.has("w") {
        let (config, watch) = session.client.config_and_watch().await.map_err(failed)?;
        session.notices.follow_once("/zookeeper/config", Kind::Data, watch);
        config
    } else {
        session.client.config().await.map_err(failed)?
    };
    let text = if config.is_null { "null".into() } else { String::from_utf8_lossy(&config.data) };
    if arguments.has("c") {
        output::line(&client_connect_string(&text));
    } else {
        output::line(&text);
    }
    if arguments.has("s") {
        output::line(&output::stat(&config.stat));
    }
    Ok(())
}

/// The configuration's version, and where clients connect. `ConfigUtils.getClientConfigStr`.
fn client_connect_string(config: &str) -> String {
    let mut version = "";
    let mut servers = Vec::new();
    for (key, value) in config.lines().filter_map(property) {
        if key == "version" {
            version = value;
        } else if key.starts_with("server.") {
            servers.extend(client_address(value));
        }
    }
    format!("{version} {}", servers.join(","))
}

/// The client's address in `host:2888:3888:participant;client`, where the host is the server's own unless it is named.
fn client_address(server: &str) -> Option<String> {
    let (server, client) = server.split_once(';')?;
    if client.contains(':') {
        return Some(client.to_owned());
    }
    let host = server.split(':').next().filter(|host| !host.is_empty())?;
    Some(format!("{}:{client}", if client.is_empty() { host } else { "0.0.0.0" }))
}

pub(super) async fn reconfigure(
    session: &Session,
    arguments: &Arguments,
    usage: &str,
) -> Result<(), Failure> {
    let change = change(arguments, usage)?;
    let version = match arguments.value("v") {
        None => None,
        Some(version) => Some(
            i64::from_str_radix(version, 16)
                .map_err(|_| Failure::new("-v must be followed by a long (configuration version)"))?,
        ),
    };
    let answer = session.client.reconfigure(&change, version.filter(|version| *version != -1)).await;
    let config = answer.map_err(|error| Failure::on("", &error))?; // ZooKeeper's shell gives an empty path, too.
    output::line(&format!("Committed new configuration:\n{}", String::from_utf8_lossy(&config.data)));
    if arguments.has("s") {
        output::line(&output::stat(&config.stat));
    }
    Ok(())
}

fn change(arguments: &Arguments, usage: &str) -> Result<Reconfig, Failure> {
    let [file, members, add, remove] = ["file", "members", "add", "remove"].map(|name| arguments.value(name));
    let whole = file.is_some() || members.is_some();
    let partial = add.is_some() || remove.is_some();
    match (file, members) {
        _ if !whole && !partial => Err(Failure::new(usage)),
        _ if whole && partial => Err(Failure::new(
            "Can't use -file or -members together with -add or -remove (mixing incremental and non-incremental modes \
             is not allowed)",
        )),
        (Some(_), Some(_)) => {
            Err(Failure::new("Can't use -file and -members together (conflicting non-incremental modes)"))
        }
        (Some(file), None) => members_of(file).map(Reconfig::Members),
        (None, Some(members)) => Ok(Reconfig::Members(vec![members.to_lowercase()])),
        (None, None) => {
            let joining = add.map(str::to_lowercase).into_iter().collect();
            let leaving = remove.into_iter().flat_map(|ids| ids.split(','));
            let leaving: Result<_, _> = leaving.map(|id| id.trim().parse()).collect();
            let leaving = leaving.map_err(|_| Failure::new("Arguments are not valid : null"))?;
            Ok(Reconfig::Incremental { joining, leaving })
        }
    }
}

/// The members that a dynamic configuration file names.
fn members_of(file: &str) -> Result<Vec<String>, Failure> {
    let text = fs::read_to_string(file).map_err(|error| {
        let what = match error.kind() {
            std::io::ErrorKind::NotFound => "No such file or directory".to_owned(),
            _ => error.to_string(),
        };
        Failure::new(format!("Error processing {file}{file} ({what})"))
    })?;
    let members: Vec<_> = text
        .lines()
        .filter_map(property)
        .filter(|(key, _)| *key != "version")
        .map(|(k, v)| format!("{k}={v}"))
        .collect();
    if members.is_empty() {
        return Err(Failure::new(format!("Error processing {file}: it names no servers")));
    }
    Ok(members)
}

pub(super) async fn sync(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    check_path(path)?;
    match session.client.sync(path).await {
        Ok(()) => output::line("Sync is OK"),
        Err(Error::Refused { code, .. }) => output::line(&format!("Sync has failed. rc={}", code.code())),
        Err(error) => return Err(Failure::on(path, &error)),
    }
    Ok(())
}

/// Credentials that the service refuses end the session, which is told as an event and not as this command's failure.
pub(super) async fn add_auth(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let auth = arguments.words.get(2).cloned().unwrap_or_default();
    let _ = session.client.authenticate(arguments.path(), auth).await;
    Ok(())
}

pub(super) async fn who_am_i(session: &Session) -> Result<(), Failure> {
    let identities = session.client.who_am_i().await.map_err(|error| Failure::without_path(&error))?;
    output::line("Auth scheme: User");
    for identity in identities {
        output::line(&format!("{}: {}", identity.scheme, identity.user));
    }
    Ok(())
}

#[expect(clippy::unnecessary_wraps, reason = "a command like the others")]
pub(super) fn version() -> Result<(), Failure> {
    output::line(&format!("ZooKeeper CLI version: 3.9.5-menagerie-{}", env!("CARGO_PKG_VERSION")));
    Ok(())
}

pub(super) async fn close(session: &Session) -> Result<(), Failure> {
    session.client.close().await.map_err(|error| Failure::without_path(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connect_string_has_the_version_and_the_clients_addresses() {
        let config =
            "server.1=a:2888:3888:participant;0.0.0.0:2181\nserver.2=b:2888:3888;2182\nversion=100000000";

        assert_eq!(client_connect_string(config), "100000000 0.0.0.0:2181,0.0.0.0:2182");
        assert_eq!(client_connect_string(""), " ");
    }
}
