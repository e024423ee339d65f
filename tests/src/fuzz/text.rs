//! Text that people write: configurations, paths, quotas, access control lists, servers, credentials.

use std::path::Path;

use client::Host;
use jute::data::{Acl, Id};
use server::auth::{Authentication, Schemes};
use server::config::Config;
use server::runtime::four_letter::Word;
use server::tree::quota::StatsTrack;
use server::tree::{is_world_readable, path};

use super::Input;

/// The first byte says what the rest is taken for.
pub(super) fn text(input: &[u8]) {
    let Some((choice, bytes)) = input.split_first() else { return };
    let text = String::from_utf8_lossy(bytes);
    match choice % 8 {
        0 => config(&text),
        1 => dynamic_config(&text),
        2 => znode_path(&text),
        3 => quota(bytes),
        4 => acl(bytes),
        5 => servers(&text),
        6 => command_line(&text),
        _ => word(bytes),
    }
}

fn config(text: &str) {
    // Needed, and so not to be found by chance.
    let overrides = [("dataDir".to_owned(), "data".to_owned()), ("clientPort".to_owned(), "2181".to_owned())];
    if let Ok(config) = Config::parse(text, Path::new("zoo.cfg"), &overrides) {
        let again = Config::parse(text, Path::new("zoo.cfg"), &overrides);
        assert_eq!(format!("{again:?}"), format!("{:?}", Ok::<_, ()>(config)));
    }
}

fn dynamic_config(text: &str) {
    let mut config = Config::embedded_default();
    if server::fuzzing::read_dynamic(&mut config, text).is_ok() {
        let mut again = Config::embedded_default();
        server::fuzzing::read_dynamic(&mut again, text).expect("it was good a moment ago");
        assert_eq!(format!("{:?}", config.ensemble), format!("{:?}", again.ensemble));
    }
}

/// The server and the client library judge alike, and a good path is made of its parent and its name.
fn znode_path(text: &str) {
    let is_valid = path::validate(text).is_ok();
    assert_eq!(client::validate_path(text).is_ok(), is_valid, "{text:?}");
    let _ = path::is_special(text);
    let name = path::name_of(text);
    if is_valid && text != path::ROOT {
        let parent = path::parent_of(text).expect("all but the root have a parent");
        path::validate(parent).expect("the parent of a valid path");
        assert_eq!(text, format!("{}/{name}", parent.trim_end_matches('/')));
        assert!(path::is_within(text, parent) && path::is_within(text, text));
    } else {
        let _ = (path::parent_of(text), path::is_within(text, name));
    }
}

fn quota(bytes: &[u8]) {
    let track = StatsTrack::parse(bytes);
    let again = StatsTrack::parse(track.to_string().as_bytes());
    for of in
        [StatsTrack::count, StatsTrack::bytes, StatsTrack::count_hard_limit, StatsTrack::byte_hard_limit]
    {
        assert_eq!(of(&track), of(&again), "{track}");
    }
}

/// What is resolved can be asked for again, and nobody gets past an entry that means somebody else.
fn acl(bytes: &[u8]) {
    let mut input = Input(bytes);
    let schemes = Schemes::default();
    let mut identities = vec![server::auth::identity_of([127, 0, 0, 1].into())];
    let scheme = input.one_of(&["digest", "ip", "ensemble", "super", "nosuch"]);
    let credentials = input.data();
    if let Authentication::Accepted(proven) = schemes.authenticate(scheme, credentials.as_deref()) {
        identities.extend(proven);
    }
    assert!(identities.iter().all(|identity| identity.scheme != "super"), "nobody is the super user here");
    let mut list = Vec::new();
    while !input.is_empty() && list.len() < 16 {
        let scheme = input.one_of(&["world", "auth", "digest", "ip", "super", "x509", ""]);
        let perms = i32::from(input.byte());
        let id = String::from_utf8_lossy(input.few_bytes());
        list.push(Acl { perms, id: Id::new(scheme, &id) });
    }
    if let Ok(resolved) = schemes.resolve(list.into(), &identities) {
        assert!(schemes.resolve(resolved.clone(), &identities).is_ok());
        let _ = schemes.check(&resolved, 31, &identities);
        assert_eq!(
            schemes.check(&resolved, 1, &[]).is_ok(),
            is_world_readable(&resolved),
            "nobody in particular reads what the world reads"
        );
        let _ = server::auth::redacted(&resolved);
    }
}

fn servers(text: &str) {
    if let Ok(host) = text.parse::<Host>() {
        assert_eq!(host.to_string().parse(), Ok(host));
    }
}

/// Words have no blanks but within quotes.
fn command_line(text: &str) {
    let words = shell_words::split(text);
    let quoted = text.contains(['"', '\'']);
    assert!(quoted || words.iter().all(|word| !word.contains(char::is_whitespace) && !word.is_empty()));
    assert!(words.iter().map(String::len).sum::<usize>() <= text.len());
}

/// How the shell cuts a line: a part of its binary.
#[path = "../../../client/src/bin/zkcli/words.rs"]
mod shell_words;

fn word(bytes: &[u8]) {
    let Some(first) = bytes.first_chunk() else { return };
    if let Some(word) = Word::from_bytes(*first) {
        assert!(word.argument_len() <= 8);
    }
}
