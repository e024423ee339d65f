//! What is printed without having been asked for: the session's states and the events of watches.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use client::{
    Client, EventType, OneshotWatch, PersistentWatch, SessionState, WatchEvent, WatchUpdate, WatcherType,
};

use crate::output;

/// Writes above a prompt, where there is one.
pub(crate) type Printer = Box<dyn FnMut(String) + Send>;

/// How often each event was seen.
type Seen = HashMap<(EventType, String), u64>;

/// The watches of one session, and what prints their events.
///
/// The service sends one event per change, and the client hands it to every watch it concerns. The shell prints it once, as
/// ZooKeeper's does, whose one watcher stands behind all watches: the nth event that a watch has seen since it was set is
/// the same as the nth that another one has.
#[derive(Clone)]
pub(crate) struct Notices {
    ledger: Arc<Mutex<Ledger>>,
}

struct Ledger {
    printer: Printer,
    enabled: bool,
    seen: Seen,
    /// How many handles there are of each watch.
    live: BTreeMap<(String, Kind), usize>,
}

/// Watches that are removed together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Children,
    Data,
    Persistent,
    Recursive,
}

impl Kind {
    const fn matches(self, wanted: WatcherType) -> bool {
        match wanted {
            WatcherType::Any => true,
            WatcherType::Children => matches!(self, Self::Children),
            WatcherType::Data => matches!(self, Self::Data),
            WatcherType::Persistent => matches!(self, Self::Persistent),
            WatcherType::PersistentRecursive => matches!(self, Self::Recursive),
        }
    }

    const fn removal(self) -> &'static str {
        match self {
            Self::Children => "ChildWatchRemoved",
            Self::Data => "DataWatchRemoved",
            Self::Persistent | Self::Recursive => "PersistentWatchRemoved",
        }
    }
}

impl Notices {
    pub(crate) fn new() -> Self {
        let ledger = Ledger {
            printer: Box::new(|text| output::print(&text)),
            enabled: true,
            seen: Seen::new(),
            live: BTreeMap::new(),
        };
        Self { ledger: Arc::new(Mutex::new(ledger)) }
    }

    /// From now on prints through `printer`.
    pub(crate) fn print_through(&self, printer: Printer) {
        self.lock().printer = printer;
    }

    pub(crate) fn enable(&self, enabled: bool) {
        self.lock().enabled = enabled;
    }

    pub(crate) fn are_enabled(&self) -> bool {
        self.lock().enabled
    }

    /// Prints the states of a new session. The watches of the one before have gone with it.
    pub(crate) fn follow_session(&self, client: &Client) {
        let mut ledger = self.lock();
        ledger.seen.clear();
        ledger.live.clear();
        drop(ledger);
        let (notices, mut states) = (self.clone(), client.states());
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                let name = match state {
                    SessionState::Connecting => continue,
                    SessionState::Connected => "SyncConnected",
                    SessionState::ConnectedReadOnly => "ConnectedReadOnly",
                    SessionState::Disconnected => "Disconnected",
                    SessionState::Expired => "Expired",
                    SessionState::AuthFailed => "AuthFailed",
                    SessionState::Closed => "Closed",
                };
                notices.lock().print(name, "None", "null", None);
            }
        });
    }

    /// Prints what a watch that fires once will see.
    pub(crate) fn follow_once(&self, path: &str, kind: Kind, watch: OneshotWatch) {
        let mut seen = self.register(path, kind);
        let (notices, path) = (self.clone(), path.to_owned());
        tokio::spawn(async move {
            if let Ok(event) = watch.await {
                let mut ledger = notices.lock();
                ledger.unregister(&path, kind);
                ledger.happened(&mut seen, &event);
            }
        });
    }

    /// Prints what a watch that stays sees.
    pub(crate) fn follow(&self, path: &str, kind: Kind, mut watch: PersistentWatch) {
        let mut seen = self.register(path, kind);
        let notices = self.clone();
        tokio::spawn(async move {
            while let Some(update) = watch.next().await {
                let mut ledger = notices.lock();
                match update {
                    WatchUpdate::Event(event) => ledger.happened(&mut seen, &event),
                    // Nobody knows how many events this watch has missed: from here on it counts like the others.
                    WatchUpdate::Gap => seen.clone_from(&ledger.seen),
                }
            }
        });
    }

    /// Tells which watches on `path` have been removed.
    pub(crate) fn removed(&self, path: &str, wanted: WatcherType) {
        let mut ledger = self.lock();
        let keys: Vec<_> =
            ledger.live.keys().filter(|(at, kind)| at == path && kind.matches(wanted)).cloned().collect();
        let mut removals: Vec<_> = keys.iter().map(|(_, kind)| kind.removal()).collect();
        removals.dedup();
        for key in keys {
            ledger.live.remove(&key);
        }
        for removal in removals {
            ledger.print("SyncConnected", removal, path, None);
        }
    }

    fn register(&self, path: &str, kind: Kind) -> Seen {
        let mut ledger = self.lock();
        *ledger.live.entry((path.to_owned(), kind)).or_default() += 1;
        ledger.seen.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ledger {
    fn unregister(&mut self, path: &str, kind: Kind) {
        let key = (path.to_owned(), kind);
        if let Some(handles) = self.live.get_mut(&key) {
            *handles -= 1;
            if *handles == 0 {
                self.live.remove(&key);
            }
        }
    }

    /// A watch has seen `event`, after all that it had `seen`.
    fn happened(&mut self, seen: &mut Seen, event: &WatchEvent) {
        let key = (event.kind, event.path.clone());
        let by_watch = seen.entry(key.clone()).or_default();
        *by_watch += 1;
        let by_all = self.seen.entry(key).or_default();
        if *by_watch > *by_all {
            *by_all = *by_watch;
            self.print("SyncConnected", &format!("{:?}", event.kind), &event.path, event.zxid);
        }
    }

    fn print(&mut self, state: &str, kind: &str, path: &str, zxid: Option<i64>) {
        if self.enabled {
            let zxid = zxid.unwrap_or(-1);
            let event = format!("WatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}");
            (self.printer)(format!("\nWATCHER::\n\n{event}\n"));
        }
    }
}
