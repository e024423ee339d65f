//! The commands that speak with the service: their names, options and usage, and where each is.

mod acl;
mod ensemble;
mod quota;
mod read;
mod watch;
mod write;

use std::ops::RangeInclusive;

use crate::arguments::{self, Arguments, Choice, Opt};
use crate::failure::Failure;
use crate::output;
use crate::session::Session;

/// What a command is called with.
struct Spec {
    name: &'static str,
    usage: &'static str,
    options: &'static [Opt],
    choice: Choice,
    /// How many words there may be, the command included.
    words: RangeInclusive<usize>,
}

const fn spec(name: &'static str, usage: &'static str, options: &'static [Opt], words_min: usize) -> Spec {
    Spec { name, usage, options, choice: Choice::Any, words: words_min..=usize::MAX }
}

/// All commands, the shell's own included, in the order in which help shows them.
static SPECS: &[Spec] = &[
    Spec {
        words: 2..=2,
        ..spec(
            "addWatch",
            "[-m mode] path # optional mode is one of [PERSISTENT, PERSISTENT_RECURSIVE] - default is \
             PERSISTENT_RECURSIVE",
            &[Opt::value("m", "")],
            2,
        )
    },
    spec("addauth", "scheme auth", &[], 2),
    spec("close", "", &[], 1),
    spec(
        "config",
        "[-c] [-w] [-s]",
        &[Opt::flag("s", "stats"), Opt::flag("w", "watch"), Opt::flag("c", "client connection string")],
        1,
    ),
    spec("connect", "host:port", &[], 1),
    spec(
        "create",
        "[-s] [-e] [-c] [-t ttl] path [data] [acl]",
        &[
            Opt::flag("e", "ephemeral"),
            Opt::flag("s", "sequential"),
            Opt::flag("c", "container"),
            Opt::value("t", "ttl"),
        ],
        2,
    ),
    spec("delete", "[-v version] path", &[Opt::value("v", "version")], 2),
    spec("deleteall", "path [-b batch size]", &[Opt::value("b", "batch size")], 2),
    Spec {
        choice: Choice::AtMostOne,
        ..spec(
            "delquota",
            "[-n|-b|-N|-B] path",
            &[
                Opt::flag("n", "num soft quota"),
                Opt::flag("b", "bytes soft quota"),
                Opt::flag("N", "num hard quota"),
                Opt::flag("B", "bytes hard quota"),
            ],
            2,
        )
    },
    spec(
        "get",
        "[-s] [-w] [-b] [-x] path",
        &[
            Opt::flag("s", "Print znode stats additionally"),
            Opt::flag("w", "Watch for changes on the znode"),
            Opt::flag("b", "Output data in base64 format"),
            Opt::flag("x", "Output data in hexdump format"),
        ],
        2,
    ),
    spec("getAcl", "[-s] path", &[Opt::flag("s", "stats")], 2),
    spec("getAllChildrenNumber", "path", &[], 2),
    spec("getEphemerals", "path", &[], 1),
    spec("history", "", &[], 1),
    spec("listquota", "path", &[], 2),
    spec(
        "ls",
        "[-s] [-w] [-R] path",
        &[Opt::flag("?", "help"), Opt::flag("s", "stat"), Opt::flag("w", "watch"), Opt::flag("R", "recurse")],
        2,
    ),
    spec("printwatches", "on|off", &[], 1),
    spec("quit", "", &[], 1),
    spec(
        "reconfig",
        "[-s] [-v version] [[-file path] | [-members serverID=host:port1:port2;port3[,...]*]] | \
         [-add serverId=host:port1:port2;port3[,...]]* [-remove serverId[,...]*]",
        &[
            Opt::flag("s", "stats"),
            Opt::value("v", "required current config version"),
            Opt::value("file", "path of config file to parse for membership"),
            Opt::value("members", "comma-separated list of config strings for non-incremental reconfig"),
            Opt::value("add", "comma-separated list of config strings for new servers"),
            Opt::value("remove", "comma-separated list of server IDs to remove"),
        ],
        1,
    ),
    spec("redo", "cmdno", &[], 1),
    spec(
        "removewatches",
        "path [-c|-d|-a] [-l]",
        &[
            Opt::flag("c", "child watcher type"),
            Opt::flag("d", "data watcher type"),
            Opt::flag("p", "persistent watcher type"),
            Opt::flag("r", "persistent recursive watcher type"),
            Opt::flag("a", "any watcher type"),
            Opt::flag("l", "remove locally when there is no server connection"),
        ],
        2,
    ),
    spec(
        "set",
        "path data [-s] [-v version] [-b]",
        &[
            Opt::flag("s", "Print znode stats additionally"),
            Opt::value("v", "Set with an expected version"),
            Opt::flag("b", "Supply data in base64 format"),
        ],
        3,
    ),
    spec(
        "setAcl",
        "[-s] [-v version] [-R] path acl",
        &[Opt::flag("s", "stats"), Opt::value("v", "version"), Opt::flag("R", "recursive")],
        3,
    ),
    Spec {
        choice: Choice::One,
        ..spec(
            "setquota",
            "-n|-b|-N|-B val path",
            &[
                Opt::value("n", "num soft quota"),
                Opt::value("b", "bytes soft quota"),
                Opt::value("N", "num hard quota"),
                Opt::value("B", "bytes hard quota"),
            ],
            2,
        )
    },
    spec("stat", "[-w] path", &[Opt::flag("w", "watch")], 2),
    spec("sync", "path", &[], 2),
    Spec { words: 1..=1, ..spec("version", "", &[], 1) },
    spec("whoami", "", &[], 1),
];

impl Spec {
    fn usage(&self) -> String {
        let usage = format!("{} {}", self.name, self.usage);
        match self.name {
            "get" | "set" => format!("{usage}\n{}", arguments::explain(self.options)),
            _ => usage,
        }
    }

    fn parse(&self, words: &[String]) -> Result<Arguments, Failure> {
        let arguments = arguments::parse(self.options, self.choice, words)?;
        if !self.words.contains(&arguments.words.len()) {
            return Err(Failure::new(self.usage()));
        }
        self.with_deprecated_watch(words, arguments)
    }

    /// `get path watch` meant `get -w path` once, and still does.
    fn with_deprecated_watch(&self, words: &[String], arguments: Arguments) -> Result<Arguments, Failure> {
        let instead = match self.name {
            _ if arguments.words.len() < 3 => return Ok(arguments),
            "get" => "get [-s] [-w] path",
            "ls" => "ls [-w] path",
            "stat" => "stat [-w] path",
            _ => return Ok(arguments),
        };
        output::error_line(&format!(
            "'{} path [watch]' has been deprecated. Please use '{instead}' instead.",
            self.name
        ));
        let mut words = words.to_vec();
        if let Some(third) = words.get_mut(2) {
            "-w".clone_into(third);
        }
        arguments::parse(self.options, self.choice, &words)
    }
}

/// The names of all commands, sorted.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    SPECS.iter().map(|spec| spec.name)
}

pub(crate) fn is_known(name: &str) -> bool {
    names().any(|known| known == name)
}

/// How the shell is called, and all its commands.
pub(crate) fn usage() -> String {
    let mut usage =
        String::from("ZooKeeper -server host:port -client-configuration properties-file cmd args\n");
    for spec in SPECS {
        usage += &format!("\t{} {}\n", spec.name, spec.usage);
    }
    usage
}

/// Runs a command of the service's. Those of the shell's own have been run before, and do nothing here.
pub(crate) async fn run(session: &Session, words: &[String]) -> Result<(), Failure> {
    let Some(spec) = SPECS.iter().find(|spec| words.first().is_some_and(|name| spec.name == name)) else {
        return Ok(());
    };
    // What they are called with does not matter to them.
    match spec.name {
        "close" => return ensemble::close(session).await,
        "whoami" => return ensemble::who_am_i(session).await,
        "connect" | "history" | "printwatches" | "quit" | "redo" => return Ok(()),
        _ => {}
    }
    let arguments = &spec.parse(words)?;
    match spec.name {
        "addWatch" => watch::add(session, arguments, &spec.usage()).await,
        "addauth" => ensemble::add_auth(session, arguments).await,
        "config" => ensemble::config(session, arguments).await,
        "create" => write::create(session, arguments).await,
        "delete" => write::delete(session, arguments).await,
        "deleteall" => write::delete_all(session, arguments).await,
        "delquota" => quota::delete(session, arguments).await,
        "get" => read::get(session, arguments).await,
        "getAcl" => acl::get(session, arguments).await,
        "getAllChildrenNumber" => read::all_children_number(session, arguments).await,
        "getEphemerals" => read::ephemerals(session, arguments).await,
        "listquota" => quota::list(session, arguments).await,
        "ls" => read::list(session, arguments).await,
        "reconfig" => ensemble::reconfigure(session, arguments, &spec.usage()).await,
        "removewatches" => watch::remove(session, arguments).await,
        "set" => write::set(session, arguments).await,
        "setAcl" => acl::set(session, arguments).await,
        "setquota" => quota::set(session, arguments).await,
        "stat" => read::stat(session, arguments).await,
        "sync" => ensemble::sync(session, arguments).await,
        "version" => ensemble::version(),
        name => unreachable!("{name} is in the table but has no function"),
    }
}

/// The value of an option that is a number.
fn version_of(arguments: &Arguments) -> Result<Option<i32>, Failure> {
    let Some(version) = arguments.value("v") else { return Ok(None) };
    let number: i32 = version.parse().map_err(|_| Failure::new(format!("-v {version}: not a version")))?;
    Ok((number != -1).then_some(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_sorted_as_java_sorts() {
        assert!(names().is_sorted());
    }

    #[test]
    fn get_explains_its_options() {
        let get = SPECS.iter().find(|spec| spec.name == "get").unwrap();

        assert!(
            get.usage()
                .starts_with("get [-s] [-w] [-b] [-x] path\n -b   Output data in base64 format\n -s   ")
        );
    }

    #[test]
    fn the_third_word_of_an_old_get_is_a_watch() {
        let get = SPECS.iter().find(|spec| spec.name == "get").unwrap();
        let arguments = get.parse(&crate::words::split("get /a true")).unwrap();

        assert!(arguments.has("w"));
        assert_eq!(arguments.words, ["get", "/a"]);
    }
}
