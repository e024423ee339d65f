//! Watches that stay: `addWatch`, `removewatches`.

use client::{AddWatchMode, WatcherType};

use crate::arguments::Arguments;
use crate::failure::{Failure, check_path};
use crate::notices::Kind;
use crate::session::Session;

pub(super) async fn add(session: &Session, arguments: &Arguments, usage: &str) -> Result<(), Failure> {
    let (mode, kind) = match arguments.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => (AddWatchMode::PersistentRecursive, Kind::Recursive),
        Some("PERSISTENT") => (AddWatchMode::Persistent, Kind::Persistent),
        Some(_) => return Err(Failure::new(usage)),
    };
    let path = arguments.path();
    check_path(path)?;
    let watch = session.client.watch(path, mode).await.map_err(|error| Failure::on(path, &error))?;
    session.notices.follow(path, kind, watch);
    Ok(())
}

pub(super) async fn remove(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let types = [
        ("c", WatcherType::Children),
        ("d", WatcherType::Data),
        ("p", WatcherType::Persistent),
        ("r", WatcherType::PersistentRecursive),
    ];
    let wanted =
        types.iter().find(|(name, _)| arguments.has(name)).map_or(WatcherType::Any, |(_, kind)| *kind);
    let path = arguments.path();
    check_path(path)?;
    let removed = session.client.remove_watches(path, wanted).await;
    let unreachable = removed.as_ref().is_err_and(client::Error::is_transient);
    // With -l the watches go although nobody tells the service.
    if !(unreachable && arguments.has("l")) {
        removed.map_err(|error| Failure::on(path, &error))?;
    }
    session.notices.removed(path, wanted);
    Ok(())
}
