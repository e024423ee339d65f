//! Reading znodes: `get`, `ls`, `stat`, `getAllChildrenNumber`, `getEphemerals`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use client::{Error, ErrorCode};

use crate::arguments::{self, Arguments, Opt};
use crate::failure::{Failure, check_path};
use crate::notices::Kind;
use crate::output;
use crate::session::Session;

pub(super) async fn get(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    check_path(path)?;
    let failed = |error| Failure::on(path, &error);
    let znode = if arguments.has("w") {
        let (znode, watch) = session.client.get_and_watch(path).await.map_err(failed)?;
        session.notices.follow_once(path, Kind::Data, watch);
        znode
    } else {
        session.client.get(path).await.map_err(failed)?
    };
    let data = if znode.is_null { b"null" } else { &znode.data[..] };
    output::line(&if arguments.has("x") {
        output::hex_dump(data)
    } else if arguments.has("b") {
        BASE64.encode(data)
    } else {
        String::from_utf8_lossy(data).into_owned()
    });
    if arguments.has("s") {
        output::line(&output::stat(&znode.stat));
    }
    Ok(())
}

pub(super) async fn stat(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    check_path(path)?;
    let failed = |error| Failure::on(path, &error);
    let stat = if arguments.has("w") {
        let (stat, watch) = session.client.exists_and_watch(path).await.map_err(failed)?;
        session.notices.follow_once(path, Kind::Data, watch);
        stat
    } else {
        session.client.exists(path).await.map_err(failed)?
    };
    let stat = stat.ok_or_else(|| Failure::new(format!("Node does not exist: {path}")))?;
    output::line(&output::stat(&stat));
    Ok(())
}

pub(super) async fn list(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    if arguments.has("?") {
        let options = [
            Opt::flag("?", "help"),
            Opt::flag("s", "stat"),
            Opt::flag("w", "watch"),
            Opt::flag("R", "recurse"),
        ];
        output::print(&format!("usage: ls [options] path\n{}", arguments::explain(&options)));
    }
    let path = arguments.path();
    check_path(path)?;
    let watched = arguments.has("w");
    if arguments.has("R") {
        let visited = visit(session, path, watched, output::line).await;
        return visited.map_err(|error| Failure::on(path, &error));
    }
    let (children, stat) = if watched {
        let answer = session.client.children_and_watch(path).await;
        let (children, stat, watch) = answer.map_err(|error| Failure::on(path, &error))?;
        session.notices.follow_once(path, Kind::Children, watch);
        (children, stat)
    } else {
        session.client.children_with_stat(path).await.map_err(|error| Failure::on(path, &error))?
    };
    output::line(&output::list(&sorted(children)));
    if arguments.has("s") {
        output::line(&output::stat(&stat));
    }
    Ok(())
}

/// Walks over a subtree: a znode's children, all of them, and then below each. `ZKUtil.visitSubTreeDFS`.
///
/// With `watched`, a watch is set on the data of the first znode, and on the children of each.
pub(super) async fn visit(
    session: &Session,
    root: &str,
    watched: bool,
    mut see: impl FnMut(&str),
) -> Result<(), Error> {
    if watched {
        let (_, watch) = session.client.get_and_watch(root).await?;
        session.notices.follow_once(root, Kind::Data, watch);
    } else {
        session.client.get(root).await?;
    }
    see(root);
    // The next one to be opened is the last.
    let mut closed = vec![root.to_owned()];
    while let Some(path) = closed.pop() {
        let children = match children(session, &path, watched).await {
            // It was there when its parent was listed, and has gone since.
            Err(error) if error.code() == Some(ErrorCode::NoNode) => continue,
            children => sorted(children?),
        };
        let parent = if path == "/" { "" } else { &path };
        let children: Vec<_> = children.iter().map(|child| format!("{parent}/{child}")).collect();
        children.iter().for_each(|child| see(child));
        closed.extend(children.into_iter().rev());
    }
    Ok(())
}

async fn children(session: &Session, path: &str, watched: bool) -> Result<Vec<String>, Error> {
    if !watched {
        return session.client.children(path).await;
    }
    let (children, _, watch) = session.client.children_and_watch(path).await?;
    session.notices.follow_once(path, Kind::Children, watch);
    Ok(children)
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_by(|one, other| one.encode_utf16().cmp(other.encode_utf16()));
    names
}

pub(super) async fn all_children_number(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    check_path(path)?;
    let count = session.client.descendants(path).await.map_err(|error| Failure::on(path, &error))?;
    output::line(&count.to_string());
    Ok(())
}

pub(super) async fn ephemerals(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.words.get(1).map_or("/", String::as_str);
    check_path(path)?;
    let paths = session.client.ephemerals(path).await.map_err(|error| Failure::on(path, &error))?;
    output::line(&output::list(&paths));
    Ok(())
}
