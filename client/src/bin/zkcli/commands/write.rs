//! Changing znodes: `create`, `set`, `delete`, `deleteall`.

use std::collections::VecDeque;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::{CreateMode, CreateOptions, Data, Error, ErrorCode};

use super::{acl, version_of};
use crate::arguments::Arguments;
use crate::failure::{Failure, check_path, keeper_error};
use crate::output;
use crate::session::Session;

/// The longest life that a TTL can give: it shares an `ephemeralOwner` with a mark.
const TTL_MS_MAX: i64 = (1 << 40) - 1;
/// How many deletions go into one multi, unless the user says otherwise.
const BATCH: usize = 1000;

pub(super) async fn create(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let mode = create_mode(arguments)?;
    let path = arguments.path();
    let data = arguments.words.get(2).map_or(Data::NULL, Data::from);
    let options = match arguments.words.get(3) {
        None => CreateOptions::from(mode),
        Some(acl) => mode.with_acl(acl::parse(acl)?),
    };
    check_create_path(path, arguments.has("s"))?;
    match session.client.create(path, data, options).await {
        Ok(created) => output::error_line(&format!("Created {created}")),
        Err(error) => {
            match error.code() {
                Some(ErrorCode::InvalidAcl) => output::error_line(&keeper_error(&error, Some(path))),
                Some(ErrorCode::EphemeralOnLocalSession) => {
                    output::error_line("Unable to create ephemeral node on a local session");
                }
                _ => {}
            }
            return Err(Failure::on(path, &error));
        }
    }
    Ok(())
}

/// The number that a sequential name will end in counts: `/a/` is no path, but `/a/1` is one.
fn check_create_path(path: &str, sequential: bool) -> Result<(), Failure> {
    if sequential { check_path(&format!("{path}1")) } else { check_path(path) }
}

fn create_mode(arguments: &Arguments) -> Result<CreateMode, Failure> {
    let [ephemeral, sequential, container, mortal] = ["e", "s", "c", "t"].map(|name| arguments.has(name));
    if container && (ephemeral || sequential) {
        return Err(Failure::new(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl = arguments.value("t").map(str::parse::<i64>).transpose();
    let ttl = ttl.map_err(|_| Failure::new("-t argument must be a long value"))?.unwrap_or_default();
    if mortal && ephemeral {
        return Err(Failure::new("TTLs cannot be used with Ephemeral znodes"));
    }
    if mortal && container {
        return Err(Failure::new("TTLs cannot be used with Container znodes"));
    }
    if mortal && !(1..=TTL_MS_MAX).contains(&ttl) {
        return Err(Failure::new(format!("ttl must be positive and cannot be larger than: {TTL_MS_MAX}")));
    }
    let ttl = Duration::from_millis(ttl.unsigned_abs());
    Ok(match (ephemeral, sequential, mortal) {
        _ if container => CreateMode::Container,
        (true, true, _) => CreateMode::EphemeralSequential,
        (true, false, _) => CreateMode::Ephemeral,
        (false, true, true) => CreateMode::PersistentSequentialWithTtl(ttl),
        (false, true, false) => CreateMode::PersistentSequential,
        (false, false, true) => CreateMode::PersistentWithTtl(ttl),
        (false, false, false) => CreateMode::Persistent,
    })
}

pub(super) async fn set(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    let data = arguments.words.get(2).map_or("", String::as_str);
    let data = if arguments.has("b") {
        BASE64.decode(data).map_err(|error| Failure::new(format!("-b: not base64: {error}")))?
    } else {
        data.as_bytes().to_vec()
    };
    let version = version_of(arguments)?;
    check_path(path)?;
    let stat = session.client.set(path, data, version).await.map_err(|error| Failure::on(path, &error))?;
    if arguments.has("s") {
        output::line(&output::stat(&stat));
    }
    Ok(())
}

pub(super) async fn delete(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.words.len() > 2 {
        output::error_line(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' instead.",
        );
    }
    let path = arguments.path();
    let version = version_of(arguments)?;
    check_path(path)?;
    session.client.delete(path, version).await.map_err(|error| Failure::on(path, &error))
}

pub(super) async fn delete_all(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let batch = arguments.value("b").map(str::parse::<i32>).transpose();
    let batch = batch.map_err(|_| Failure::new("-b argument must be an int value"))?;
    let path = arguments.path();
    check_path(path)?;
    let mut doomed = subtree(session, path).await.map_err(|error| Failure::on(path, &error))?;
    // Children before their parents.
    doomed.reverse();
    match batch.map_or(Some(BATCH), |batch| usize::try_from(batch).ok().filter(|batch| *batch > 0)) {
        Some(batch) => {
            if delete_in_batches(session, &doomed, batch).await.is_err() {
                output::error_line("Failed to delete some node(s) in the subtree!");
            }
        }
        None => {
            for path in &doomed {
                session.client.delete(path, None).await.map_err(|error| Failure::on(path, &error))?;
            }
        }
    }
    Ok(())
}

async fn delete_in_batches(session: &Session, paths: &[String], batch: usize) -> Result<(), Error> {
    for paths in paths.chunks(batch) {
        let multi = paths.iter().fold(session.client.multi(), |multi, path| multi.delete(path, None));
        multi.commit().await?;
    }
    Ok(())
}

/// A znode and all below it, those nearer to it first. `ZKUtil.listSubTreeBFS`.
async fn subtree(session: &Session, root: &str) -> Result<Vec<String>, Error> {
    let mut all = vec![root.to_owned()];
    let mut closed = VecDeque::from([root.to_owned()]);
    while let Some(path) = closed.pop_front() {
        let parent = if path == "/" { "" } else { &path };
        for child in session.client.children(&path).await? {
            let child = format!("{parent}/{child}");
            all.push(child.clone());
            closed.push_back(child);
        }
    }
    Ok(all)
}
