//! Java's servers and ours in one ensemble, in every role: whoever leads brings the others up to date by DIFF, SNAP and
//! TRUNC, and observers too; sessions move from one kind to the other, with what they own; in the end all trees are
//! equal, and their digests.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{Ensemble, Id, Kind, Mode, Plan, is_division_possible};

/// Nobody's session expires: that would be a txn that no step has asked for.
const SESSION: Duration = Duration::from_secs(60);
/// More than a leader keeps at hand; and in its log it is not to look.
const MANY_WRITES: usize = 700;
/// What is on its way to a leader that is cut off.
const LOST: &str = "/lost";
/// So long nobody answers it; less than the leader takes to notice.
const UNANSWERED: Duration = Duration::from_millis(500);

const FIRST: Id = 1;
const SECOND: Id = 2;
const LEADER: Id = 3;
const OBSERVER: Id = 4;

#[tokio::test]
async fn java_leads_ours() -> Result<()> {
    Mixed::start(Kind::Java, Kind::Ours)?.show().await
}

#[tokio::test]
async fn ours_lead_javas() -> Result<()> {
    Mixed::start(Kind::Ours, Kind::Java)?.show().await
}

struct Mixed {
    ensemble: Ensemble,
    is_divisible: bool,
}

impl Mixed {
    /// A leader of the one kind, with two followers and an observer of the other.
    fn start(leads: Kind, learn: Kind) -> Result<Self> {
        let mut plan = Plan::of(&[learn, learn, leads]).observer(learn).config("snapshotSizeFactor=-1\n");
        let is_divisible = is_division_possible();
        if is_divisible {
            plan = plan.divisible();
        }
        let mut ensemble = plan.prepare()?;
        // Of these two, neither of which has seen anything, the larger number leads.
        for id in [FIRST, LEADER] {
            ensemble.start(id)?;
        }
        ensemble.wait("a leader", || ensemble.leader() == Some(LEADER))?;
        for id in [SECOND, OBSERVER] {
            ensemble.start(id)?;
        }
        ensemble.wait_until_all_serve()?;
        Ok(Self { ensemble, is_divisible })
    }

    async fn show(mut self) -> Result<()> {
        self.sessions_move().await.context("sessions")?;
        for id in [FIRST, OBSERVER] {
            let snapshots = self.trees_taken_over(id)?;
            self.come_back(id, 20).await.with_context(|| format!("a DIFF for server {id}"))?;
            ensure!(self.trees_taken_over(id)? == snapshots, "server {id} took a SNAP for a DIFF");
            self.come_back(id, MANY_WRITES).await.with_context(|| format!("a SNAP for server {id}"))?;
            ensure!(
                self.trees_taken_over(id)? > snapshots,
                "server {id} took no SNAP\n{}",
                self.ensemble.logs()
            );
        }
        if self.is_divisible {
            self.cut_off_the_leader().await.context("a TRUNC for the old leader")?;
        } else {
            println!("no rights to make network namespaces: no TRUNC was shown");
        }
        self.ensure_equal().await
    }

    async fn client(&self, at: Id) -> Result<Client> {
        let address = self.ensemble.address(at).to_string();
        Ok(Client::builder().session_timeout(SESSION).connect(&address).await?)
    }

    /// From one kind to the other, and back.
    async fn sessions_move(&self) -> Result<()> {
        let mut client = self.client(FIRST).await?;
        client.create("/ephemeral", "", CreateMode::Ephemeral).await?;
        for at in [LEADER, OBSERVER, SECOND] {
            let (session, password) = client.detach().await?;
            let address = self.ensemble.address(at).to_string();
            let builder = Client::builder().session_timeout(SESSION).resume(session, password);
            client = builder.connect(&address).await?;
            client.sync("/ephemeral").await?;
            let stat = client.get("/ephemeral").await?.stat;
            ensure!(stat.ephemeral_owner == client.session_id().0, "server {at}: {stat:?}");
            client.set("/ephemeral", at.to_string(), None).await?;
        }
        client.close().await?;
        for at in [FIRST, LEADER, OBSERVER] {
            let client = self.client(at).await?;
            client.sync("/ephemeral").await?;
            ensure!(client.exists("/ephemeral").await?.is_none(), "server {at} keeps what its owner left");
            client.close().await?;
        }
        Ok(())
    }

    /// Server `id` misses so many writes.
    async fn come_back(&mut self, id: Id, writes: usize) -> Result<()> {
        self.ensemble.kill(id)?;
        let client = self.client(LEADER).await?;
        let znode = format!("/missed-by-{id}-{writes}");
        client.create(&znode, "", CreateMode::Persistent).await?;
        for _ in 0..writes {
            client.set(&znode, vec![b'x'; 1000], None).await?;
        }
        client.close().await?;
        self.ensemble.start(id)?;
        self.ensemble.wait_until_serving(id)?;
        let client = self.client(id).await?;
        client.sync(&znode).await?;
        let stat = client.get(&znode).await?.stat;
        ensure!(usize::try_from(stat.version)? == writes, "{stat:?}");
        Ok(client.close().await?)
    }

    /// How many trees server `id` has taken over from its leader, as far as can be told.
    fn trees_taken_over(&self, id: Id) -> Result<usize> {
        let place = self.ensemble.place(id);
        if place.kind() == Kind::Ours {
            return Ok(place.all_logs().matches("took over the leader's tree").count());
        }
        // A Java follower writes a snapshot then, and so early in its life at no other time.
        let names = fs::read_dir(place.data().join("version-2"))?;
        let names = names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        let names = names.collect::<Result<Vec<_>>>()?;
        Ok(names.iter().filter(|name| name.starts_with("snapshot.")).count())
    }

    /// A write that only the old leader has logged is given up when it comes back.
    async fn cut_off_the_leader(&mut self) -> Result<()> {
        let client = self.client(LEADER).await?;
        self.ensemble.isolate(LEADER)?;
        let lost = client.create(LOST, "", CreateMode::Persistent);
        ensure!(tokio::time::timeout(UNANSWERED, lost).await.is_err(), "answered without a quorum");
        self.ensemble.wait("the leader to log it", || self.has_logged(LEADER, LOST).unwrap_or(false))?;
        let new = self.ensemble.wait_for_leader_other_than(Some(LEADER))?;
        ensure!(self.ensemble.place(new).kind() != self.ensemble.place(LEADER).kind());
        let snapshots = self.trees_taken_over(LEADER)?;
        self.ensemble.heal()?;
        self.ensemble.wait("the old leader to follow", || {
            self.ensemble.place(LEADER).mode() == Some(Mode::Follower)
        })?;
        // A Java follower cuts its log for a TRUNC only, and writes a snapshot then, too.
        let was_cut = match self.ensemble.place(LEADER).kind() {
            Kind::Ours => self.trees_taken_over(LEADER)? == snapshots,
            Kind::Java => !self.has_logged(LEADER, LOST)?,
        };
        ensure!(was_cut, "it took a SNAP for a TRUNC");
        for id in self.ensemble.ids() {
            let client = self.client(id).await?;
            client.sync(LOST).await?;
            ensure!(client.exists(LOST).await?.is_none(), "server {id} has what no quorum had");
            client.close().await?;
        }
        Ok(())
    }

    fn has_logged(&self, id: Id, path: &str) -> Result<bool> {
        for entry in fs::read_dir(self.ensemble.place(id).data().join("version-2"))? {
            let entry = entry?;
            let is_log = entry.file_name().to_string_lossy().starts_with("log.");
            if is_log && contains(&fs::read(entry.path())?, path.as_bytes()) {
                return Ok(true);
            }
        }
        Ok(false)
    }

    async fn ensure_equal(&self) -> Result<()> {
        self.ensemble.ensure_equal(|_, _| Ok(())).await
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    // The rest of the file is zeros, set aside for what is to come.
    let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    bytes[..end].windows(wanted.len()).any(|window| window == wanted)
}
