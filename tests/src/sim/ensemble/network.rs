//! The network between servers. Links are FIFO until they break, and wait while their way is cut, as TCP does. Which
//! of the last packets arrive before a link breaks is anybody's guess.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use rand::RngExt;
use rand::rngs::StdRng;
use server::zab::{LinkId, Packet};

use super::disk::Tree;

/// A link, by the order in which links were dialed.
pub(super) type LinkKey = u64;

/// What arrives at an end of a link.
#[derive(Debug, Clone)]
pub(super) enum Frame {
    /// The link stands.
    Up,
    Packet(Packet),
    /// The tree behind a SNAP.
    Tree(Tree),
    /// The link is gone.
    Down,
}

/// One end of a link.
#[derive(Debug)]
pub(super) struct End {
    pub(super) server: usize,
    /// In which of its lives.
    pub(super) life: u32,
    pub(super) id: LinkId,
    is_open: bool,
    inbox: VecDeque<(Duration, Frame)>,
}

/// The learner's end is the first, the leader's the second.
#[derive(Debug)]
struct Link {
    ends: [End; 2],
}

/// All links, and which ways are cut.
#[derive(Debug)]
pub(super) struct Network {
    links: BTreeMap<LinkKey, Link>,
    /// The open ends, by server and its name for them.
    ends: BTreeMap<(usize, LinkId), (LinkKey, usize)>,
    dialed: LinkKey,
    /// `cut[from][to]`
    cut: Vec<Vec<bool>>,
}

impl Network {
    pub(super) fn new(servers: usize) -> Self {
        let cut = vec![vec![false; servers]; servers];
        Self { links: BTreeMap::new(), ends: BTreeMap::new(), dialed: 0, cut }
    }

    pub(super) fn is_cut(&self, from: usize, to: usize) -> bool {
        self.cut[from][to]
    }

    pub(super) fn cut(&mut self, from: usize, to: usize) {
        self.cut[from][to] = from != to;
    }

    /// All ways are free again. Returns the ends with mail.
    pub(super) fn heal(&mut self) -> Vec<(LinkKey, usize)> {
        self.cut.iter_mut().for_each(|to| to.fill(false));
        let has_mail = |end: &End| end.is_open && !end.inbox.is_empty();
        let ends =
            self.links.iter().flat_map(|(key, link)| [(*key, 0, &link.ends[0]), (*key, 1, &link.ends[1])]);
        ends.filter(|(.., end)| has_mail(end)).map(|(key, at, _)| (key, at)).collect()
    }

    /// `learner` dials `leader`; the leader's end opens once that arrives there.
    pub(super) fn dial(&mut self, learner: (usize, u32, LinkId), leader: usize) -> LinkKey {
        self.dialed += 1;
        let key = self.dialed;
        let end = |(server, life, id), is_open| End { server, life, id, is_open, inbox: VecDeque::new() };
        let there = (leader, 0, LinkId::Learner(u32::try_from(key).expect("a short run")));
        self.links.insert(key, Link { ends: [end(learner, true), end(there, false)] });
        self.ends.insert((learner.0, learner.2), (key, 0));
        key
    }

    /// The dialed server answers, in its present life. `None` if nobody waits for it any more.
    pub(super) fn accept(&mut self, key: LinkKey, life: u32) -> Option<LinkId> {
        let link = self.links.get_mut(&key)?;
        let end = &mut link.ends[1];
        end.is_open = true;
        end.life = life;
        self.ends.insert((end.server, end.id), (key, 1));
        Some(end.id)
    }

    pub(super) fn end(&self, (key, at): (LinkKey, usize)) -> Option<&End> {
        self.links.get(&key).map(|link| &link.ends[at])
    }

    /// The open end that `server` calls so.
    pub(super) fn find(&self, server: usize, id: LinkId) -> Option<(LinkKey, usize)> {
        self.ends.get(&(server, id)).copied()
    }

    /// Puts a frame into an end's inbox, behind all before. Returns when it is due.
    pub(super) fn post(
        &mut self,
        (key, at): (LinkKey, usize),
        due: Duration,
        frame: Frame,
    ) -> Option<Duration> {
        let end = &mut self.links.get_mut(&key)?.ends[at];
        let due = end.inbox.back().map_or(due, |(last, _)| due.max(*last));
        end.inbox.push_back((due, frame));
        Some(due)
    }

    /// The next frame for an end, if it is due and the way is free.
    pub(super) fn take(&mut self, (key, at): (LinkKey, usize), now: Duration) -> Option<Frame> {
        let link = self.links.get_mut(&key)?;
        let from = link.ends[1 - at].server;
        let end = &mut link.ends[at];
        if !end.is_open || self.cut[from][end.server] || end.inbox.front()?.0 > now {
            return None;
        }
        end.inbox.pop_front().map(|(_, frame)| frame)
    }

    /// An end is closed by its own side. Returns the other one, which has to be told.
    pub(super) fn close(&mut self, (key, at): (LinkKey, usize)) -> Option<(LinkKey, usize)> {
        let link = self.links.get_mut(&key)?;
        let end = &mut link.ends[at];
        end.is_open = false;
        end.inbox.clear();
        self.ends.remove(&(end.server, end.id));
        if link.ends[1 - at].is_open {
            return Some((key, 1 - at));
        }
        self.links.remove(&key); // If it was still being dialed, nobody hears of it.
        None
    }

    /// Of what is on its way to an end, the last part never arrives.
    pub(super) fn lose(&mut self, (key, at): (LinkKey, usize), dice: &mut StdRng) {
        if let Some(link) = self.links.get_mut(&key) {
            let inbox = &mut link.ends[at].inbox;
            inbox.truncate(dice.random_range(0..=inbox.len()));
        }
    }

    /// The open ends of a server.
    pub(super) fn ends_of(&self, server: usize) -> Vec<(LinkKey, usize)> {
        let own = self.ends.range((server, LinkId::Leader(0))..=(server, LinkId::Learner(u32::MAX)));
        own.map(|(_, end)| *end).collect()
    }

    /// All open ends.
    pub(super) fn open_ends(&self) -> Vec<(LinkKey, usize)> {
        self.ends.values().copied().collect()
    }
}
