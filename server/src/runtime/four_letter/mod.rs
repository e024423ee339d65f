//! Four-letter words: a connection that begins with one of them gets a page of text and is closed. Formats are
//! ZooKeeper's to the byte, since scripts parse them. ZooKeeper's `FourLetterCommands`.

mod environment;
mod pages;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

pub(super) use environment::{environment, user_name};
pub(super) use pages::{monitor_lines, version_dir};

use super::ServerView;

/// What stands in every other answer while the server does not serve.
pub(crate) const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// A word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[doc(alias = "FourLetterCommands")]
#[doc(alias = "FourLetterWordMain")]
pub enum Word {
    /// Its configuration.
    Conf,
    /// Its connections, in full.
    Cons,
    /// Begins the connections' statistics anew.
    Crst,
    /// Sizes on disk.
    Dirs,
    /// Sessions, ephemeral znodes, connections.
    Dump,
    /// Machine and process.
    Envi,
    /// The trace mask.
    Gtmk,
    /// Digests of the tree.
    Hash,
    /// Read-only?
    Isro,
    /// Metrics.
    Mntr,
    /// Is it there?
    Ruok,
    /// Begins the server's statistics anew.
    Srst,
    /// Its statistics.
    Srvr,
    /// Its statistics and connections.
    Stat,
    /// Sets the trace mask: 8 bytes follow.
    Stmk,
    /// Watches by session.
    Wchc,
    /// Watches by path.
    Wchp,
    /// How many watches.
    Wchs,
    /// A telnet client interrupts: close.
    TelnetClose,
}

const WORDS: [(&[u8; 4], Word); 19] = [
    (b"conf", Word::Conf),
    (b"cons", Word::Cons),
    (b"crst", Word::Crst),
    (b"dirs", Word::Dirs),
    (b"dump", Word::Dump),
    (b"envi", Word::Envi),
    (b"gtmk", Word::Gtmk),
    (b"hash", Word::Hash),
    (b"isro", Word::Isro),
    (b"mntr", Word::Mntr),
    (b"ruok", Word::Ruok),
    (b"srst", Word::Srst),
    (b"srvr", Word::Srvr),
    (b"stat", Word::Stat),
    (b"stmk", Word::Stmk),
    (b"wchc", Word::Wchc),
    (b"wchp", Word::Wchp),
    (b"wchs", Word::Wchs),
    (b"\xff\xf4\xff\xfd", Word::TelnetClose),
];

impl Word {
    /// The word that a connection's first four bytes are; `None` where they are the length of a frame.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 4]) -> Option<Self> {
        WORDS.iter().find(|(name, _)| **name == bytes).map(|&(_, word)| word)
    }

    /// How many bytes follow it.
    #[must_use]
    pub fn argument_len(self) -> usize {
        if self == Self::Stmk { 8 } else { 0 }
    }

    fn name(self) -> &'static str {
        let bytes = WORDS.iter().find(|(_, word)| *word == self).map(|(name, _)| name.as_slice());
        bytes.and_then(|bytes| std::str::from_utf8(bytes).ok()).unwrap_or("telnet close")
    }
}

/// The page that answers `word`; afterwards the connection is closed. `argument` are the bytes that follow it.
#[must_use]
pub fn answer(word: Word, argument: &[u8], view: &dyn ServerView) -> String {
    if word == Word::TelnetClose {
        return String::new();
    }
    if !view.config().four_letter_words.allows(word.name()) {
        return format!("{} is not executed because it is not in the whitelist.\n", word.name());
    }
    match word {
        Word::Ruok => return "imok".to_owned(),
        Word::Envi => return pages::envi(),
        Word::Gtmk => return view.trace_mask().value().to_string(),
        Word::Stmk => {
            let mask = <[u8; 8]>::try_from(argument).map_or(0, i64::from_be_bytes);
            view.trace_mask().set(mask);
            return mask.to_string();
        }
        Word::Isro => return pages::isro(view).to_owned(),
        _ if !view.is_serving() => return format!("{NOT_SERVING}\n"),
        _ => {}
    }
    match word {
        Word::Conf => pages::conf(view),
        Word::Cons => pages::cons(view),
        Word::Crst => {
            view.reset_connections();
            "Connection stats reset.\n".to_owned()
        }
        Word::Dirs => pages::dirs(view),
        Word::Dump => pages::dump(view),
        Word::Hash => pages::hash(view),
        Word::Mntr => pages::mntr(view),
        Word::Srst => {
            view.reset_statistics();
            "Server stats reset.\n".to_owned()
        }
        Word::Srvr => pages::srvr(view),
        Word::Stat => pages::stat(view),
        Word::Wchc => pages::wchc(view),
        Word::Wchp => pages::wchp(view),
        Word::Wchs => pages::wchs(view),
        Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Isro | Word::TelnetClose => String::new(),
    }
}

/// `gtmk` and `stmk` keep a mask that Java traces by. It is kept here for those who set it and read it back; what
/// is logged here, `RUST_LOG` says.
#[derive(Debug)]
pub struct TraceMask(AtomicI64);

impl Default for TraceMask {
    fn default() -> Self {
        Self(AtomicI64::new(306))
    }
}

impl TraceMask {
    /// As it was set.
    #[must_use]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed)
    }

    /// Sets it.
    pub fn set(&self, mask: i64) {
        self.0.store(mask, Relaxed);
    }
}

/// `/127.0.0.1:42480`, as Java prints a socket's address.
fn java_address(address: SocketAddr) -> String {
    match address {
        SocketAddr::V4(v4) => format!("/{v4}"),
        SocketAddr::V6(v6) => match v6.ip().to_ipv4_mapped() {
            Some(v4) => format!("/{v4}:{}", v6.port()),
            None => {
                let segments = v6.ip().segments().map(|segment| format!("{segment:x}"));
                format!("/[{}]:{}", segments.join(":"), v6.port())
            }
        },
    }
}
