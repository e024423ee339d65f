//! Who may do what: `getAcl`, `setAcl`.

use client::{Acl, ErrorCode, perms};

use super::{read, version_of};
use crate::arguments::Arguments;
use crate::failure::{Failure, check_path, keeper_error};
use crate::output;
use crate::session::Session;

pub(super) async fn get(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    check_path(path)?;
    let (acl, stat) = session.client.acl(path).await.map_err(|error| Failure::on(path, &error))?;
    output::line(&output::acl(&acl));
    if arguments.has("s") {
        output::line(&output::stat(&stat));
    }
    Ok(())
}

pub(super) async fn set(session: &Session, arguments: &Arguments) -> Result<(), Failure> {
    let path = arguments.path();
    let acl = entries(arguments.words.get(2).map_or("", String::as_str));
    let version = version_of(arguments)?;
    check_path(path)?;
    if arguments.has("R") {
        return set_below(session, path, &acl, version).await;
    }
    not_empty(&acl)?;
    let stat = session.client.set_acl(path, acl, version).await.map_err(|error| Failure::on(path, &error))?;
    if arguments.has("s") {
        output::line(&output::stat(&stat));
    }
    Ok(())
}

/// A znode that refuses is told, and does not keep the others from being changed.
async fn set_below(session: &Session, root: &str, acl: &[Acl], version: Option<i32>) -> Result<(), Failure> {
    let mut paths = Vec::new();
    let visited = read::visit(session, root, false, |path| paths.push(path.to_owned())).await;
    visited.map_err(|error| Failure::on(root, &error))?;
    for path in paths {
        if let Err(error) = session.client.set_acl(&path, acl.to_vec(), version).await {
            output::print(&keeper_error(&error, Some(&path)));
        }
    }
    Ok(())
}

/// The ACL that a new znode shall have.
pub(super) fn parse(text: &str) -> Result<Vec<Acl>, Failure> {
    let acl = entries(text);
    if acl.is_empty() {
        output::error_line("KeeperErrorCode = InvalidACL");
    }
    not_empty(&acl)?;
    Ok(acl)
}

fn not_empty(acl: &[Acl]) -> Result<(), Failure> {
    if acl.is_empty() {
        let refused = client::Error::Refused { code: ErrorCode::InvalidAcl, path: "".into() };
        return Err(Failure::without_path(&refused));
    }
    Ok(())
}

/// Entries `scheme:id:perms`, with commas between them. What makes no sense is told and left out. `AclParser`.
fn entries(text: &str) -> Vec<Acl> {
    text.split(',').filter_map(entry).collect()
}

fn entry(text: &str) -> Option<Acl> {
    let parts = text.split_once(':').and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once(':')?)));
    let Some((scheme, (id, letters))) = parts else {
        output::error_line(&format!("{text} does not have the form scheme:id:perm"));
        return None;
    };
    Some(Acl::new(letters.chars().map(permission).fold(0, |all, bit| all | bit), scheme, id))
}

fn permission(letter: char) -> i32 {
    match letter {
        'r' => perms::READ,
        'w' => perms::WRITE,
        'c' => perms::CREATE,
        'd' => perms::DELETE,
        'a' => perms::ADMIN,
        other => {
            output::error_line(&format!("Unknown perm type: {other}"));
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_may_have_colons() {
        assert_eq!(
            entries("digest:user:hash:cr,world:anyone:a"),
            [
                Acl::new(perms::CREATE | perms::READ, "digest", "user:hash"),
                Acl::new(perms::ADMIN, "world", "anyone")
            ]
        );
        assert_eq!(entries("garbage,auth::r"), [Acl::new(perms::READ, "auth", "")]);
    }
}
