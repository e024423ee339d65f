//! What is recorded: an ensemble's life, a file for each thing that happens in it.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use client::{Acl, Client, CreateMode, Reconfig};
use jute::Jute;
use jute::quorum::QuorumPacket;

use super::socks::Recorder;
use super::{End, Port, Recording};
use crate::ensemble::{Ensemble, Id, Kind, PATIENCE, Plan};

/// Never the log alone for a learner that is far behind, so that a snapshot is sent.
const CONFIG: &str = "snapshotSizeFactor=-1\n";
const PING: i32 = 5;

/// Records everything into files of the directory `target`.
///
/// # Errors
/// When the Java servers don't do what they are expected to.
pub async fn record_all(target: &Path) -> Result<()> {
    fs::create_dir_all(target)?;
    let mut stage = Stage::new(Plan::of(&[Kind::Java; 3]).observer(Kind::Java).config(CONFIG), target)?;
    stage.found().await?;
    stage.miss_some_writes().await?;
    stage.come_back_empty().await?;
    stage.come_back_with_too_much().await?;
    drop(stage);
    let plan = Plan::of(&[Kind::Java; 3]).observer(Kind::Java).dynamic();
    Stage::new(plan, target)?.change_members().await
}

/// An ensemble whose servers dial through a recorder.
struct Stage<'a> {
    ensemble: Ensemble,
    recorder: Recorder,
    target: &'a Path,
}

impl<'a> Stage<'a> {
    fn new(plan: Plan, target: &'a Path) -> Result<Self> {
        let mut ensemble = plan.prepare()?;
        let recorder = Recorder::default();
        for id in ensemble.ids() {
            ensemble.place_mut(id).set_env("JAVA_TOOL_OPTIONS", &recorder.proxy_for(id)?);
        }
        Ok(Self { ensemble, recorder, target })
    }

    /// Servers 1 and 2 elect 2, the others join; then clients do all that clients can.
    async fn found(&mut self) -> Result<()> {
        self.start_in_order()?;
        for (server, prefix) in [(1, "/forwarded"), (2, "/direct")] {
            let client = self.client(server).await?;
            write_everything(&client, prefix).await?;
            client.close().await?;
        }
        self.move_a_session().await?;
        let idle = self.client(1).await?;
        until("a ping that tells of a session", || Ok(self.recorder.has(has_touches))).await?;
        idle.close().await?;
        let seen = self.recorder.take();
        self.keep("election", "Three servers and an observer start one after the other.", &seen, |it| {
            it.port == Port::Election
        })?;
        let said = "Server 1 joins the first leader; then clients write through it, and through the leader.";
        self.keep("follower", said, &seen, |it| is_link(it, 1))?;
        let said = "A follower that joins later; then sessions move to it, one of them closed before.";
        self.keep("late_follower", said, &seen, |it| is_link(it, 3))?;
        self.keep("observer", "The same, as an observer sees it.", &seen, |it| is_link(it, 4))
    }

    /// One at a time, so that who leads is known: server 2.
    fn start_in_order(&mut self) -> Result<()> {
        self.ensemble.start(1)?;
        self.ensemble.start(2)?;
        self.ensemble.wait_until_all_serve()?;
        for id in [3, 4] {
            self.ensemble.start(id)?;
            self.ensemble.wait_until_serving(id)?;
        }
        ensure!(self.ensemble.leader() == Some(2), "server {:?} leads", self.ensemble.leader());
        Ok(())
    }

    async fn move_a_session(&self) -> Result<()> {
        let moving = self.client(1).await?;
        moving.create("/moving", "", CreateMode::Ephemeral).await?;
        let (session, password) = moving.detach().await?;
        let again = Client::builder().resume(session, password.clone());
        let again = again.connect(&self.ensemble.address(3).to_string()).await?;
        again.close().await?;
        let closed = Client::builder().resume(session, password);
        let refused = closed.connect(&self.ensemble.address(3).to_string()).await;
        ensure!(refused.is_err(), "a closed session goes on");
        Ok(())
    }

    /// Server 1 is away for three writes, which the leader still has in memory.
    async fn miss_some_writes(&mut self) -> Result<()> {
        self.ensemble.kill(1)?;
        self.write("/missed", 3).await?;
        self.recorder.take();
        self.ensemble.start(1)?;
        self.ensemble.wait_until_serving(1)?;
        let seen = self.recorder.take();
        self.keep("diff", "A follower that was away for three writes comes back.", &seen, |it| {
            is_link(it, 1)
        })?;
        self.keep("election_late", "The votes before that: a leader is there already.", &seen, |it| {
            it.port == Port::Election
        })
    }

    /// Server 3 has lost its disk.
    async fn come_back_empty(&mut self) -> Result<()> {
        self.ensemble.kill(3)?;
        fs::remove_dir_all(self.ensemble.place(3).data().join("version-2"))?;
        self.recorder.take();
        self.ensemble.start(3)?;
        self.ensemble.wait_until_serving(3)?;
        let said = "A follower comes back with an empty disk.";
        self.keep("snap", said, &self.recorder.take(), |it| is_link(it, 3))
    }

    /// The leader logs what nobody else hears of, and is killed; twice, for nothing and then something is
    /// written before it comes back.
    async fn come_back_with_too_much(&mut self) -> Result<()> {
        for (file, said, writes) in [
            ("trunc", "A former leader comes back with a write that nobody else has.", 0),
            ("trunc_late", "The same, but others have been written since.", 3),
        ] {
            let deposed = self.ensemble.wait_for_leader_other_than(None)?;
            self.write_in_vain(deposed).await?;
            self.recorder.take();
            let leader = self.ensemble.wait_for_leader_other_than(Some(deposed))?;
            self.ensemble.wait_until_all_serve()?;
            if writes == 0 {
                let seen = self.recorder.take();
                let said = "Those that are left elect another.";
                self.keep("election_next", said, &seen, |it| it.port == Port::Election)?;
                let said = "A follower, and an observer, join the second leader.";
                self.keep("next_epoch", said, &seen, |it| it.port == Port::Quorum && it.listener == leader)?;
            }
            self.write("/since", writes).await?;
            self.recorder.take();
            self.ensemble.start(deposed)?;
            self.ensemble.wait_until_serving(deposed)?;
            self.keep(file, said, &self.recorder.take(), |it| is_link(it, deposed))?;
        }
        Ok(())
    }

    async fn write_in_vain(&mut self, leader: Id) -> Result<()> {
        let client = self.client(leader).await?;
        self.recorder.lose(true);
        let path = "/lost-write";
        let never = tokio::spawn(async move { client.create(path, "", CreateMode::Persistent).await });
        let data = self.ensemble.place(leader).data().join("version-2");
        until("the write in the leader's log", || holds(&data, path.as_bytes())).await?;
        self.ensemble.kill(leader)?;
        never.abort();
        self.recorder.lose(false);
        Ok(())
    }

    /// The observer becomes a participant, a follower leaves, and the leader goes.
    async fn change_members(&mut self) -> Result<()> {
        self.start_in_order()?;
        let servers = self.ensemble.servers();
        let client = Client::builder().credentials("digest", "super:secret").connect(&servers).await?;
        let config = client.config().await?.data;
        let config = String::from_utf8(config.to_vec())?;
        let Some(observer) = config.lines().find(|line| line.starts_with("server.4=")) else {
            bail!("no observer in {config}");
        };
        let voter = observer.replace(":observer;", ":participant;");
        for (joining, leaving) in [(vec![voter], vec![]), (vec![], vec![1]), (vec![], vec![2])] {
            match client.reconfigure(&Reconfig::Incremental { joining, leaving }, None).await {
                // Whoever leaves takes its connections along.
                Err(error) if !error.may_have_happened() => return Err(error.into()),
                _ => client
                    .sync("/")
                    .await
                    .or_else(|error| if error.is_transient() { Ok(()) } else { Err(error) })?,
            }
        }
        self.ensemble.wait_for_leader_other_than(Some(2))?;
        self.ensemble.wait_until_serving(3)?;
        self.ensemble.wait_until_serving(4)?;
        let seen = self.recorder.take();
        let said = "The observer becomes a participant, server 1 leaves, then the leader.";
        self.keep("reconfig", said, &seen, |it| it.port == Port::Quorum)?;
        let said = "The votes meanwhile, with the members in each.";
        self.keep("election_reconfig", said, &seen, |it| it.port == Port::Election)
    }

    async fn client(&self, server: Id) -> Result<Client> {
        Ok(Client::connect(&self.ensemble.address(server).to_string()).await?)
    }

    async fn write(&self, prefix: &str, count: usize) -> Result<()> {
        if count == 0 {
            return Ok(());
        }
        let leader = self.ensemble.wait_for_leader_other_than(None)?;
        let client = self.client(leader).await?;
        for number in 0..count {
            client.create(&format!("{prefix}-{number}"), "data", CreateMode::Persistent).await?;
        }
        Ok(client.close().await?)
    }

    fn keep(
        &self,
        name: &str,
        said: &str,
        seen: &[Recording],
        wanted: impl Fn(&Recording) -> bool,
    ) -> Result<()> {
        let mut text = format!("# {said}\n");
        for recording in seen.iter().filter(|recording| wanted(recording) && !recording.messages.is_empty()) {
            write!(text, "{recording}")?;
        }
        ensure!(text.lines().count() > 1, "nothing was said: {name}");
        Ok(fs::write(self.target.join(format!("{name}.txt")), text)?)
    }
}

/// Waits for `condition` while clients go on with what they do.
async fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let held = async {
        while !condition()? {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    };
    tokio::time::timeout(PATIENCE, held).await.with_context(|| format!("waiting for {what}"))?
}

/// Whether `wanted` is in any file of `directory`.
fn holds(directory: &Path, wanted: &[u8]) -> Result<bool> {
    for file in fs::read_dir(directory)? {
        let bytes = fs::read(file?.path())?;
        if bytes.windows(wanted.len()).any(|window| window == wanted) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn is_link(recording: &Recording, learner: Id) -> bool {
    recording.port == Port::Quorum && recording.dialler == learner
}

/// A learner's answer to a ping names the sessions it has heard of.
fn has_touches(recording: &Recording) -> bool {
    recording.port == Port::Quorum
        && recording.messages.iter().any(|(end, message)| {
            let packet = QuorumPacket::from_bytes(message);
            *end == End::Dialler
                && packet.is_ok_and(|packet| {
                    packet.packet_type == PING && packet.data.is_some_and(|data| !data.is_empty())
                })
        })
}

/// Every kind of write, the refused ones too.
async fn write_everything(client: &Client, at: &str) -> Result<()> {
    client.create(at, "first", CreateMode::Persistent).await?;
    client.set(at, "second", None).await?;
    client.create(&format!("{at}/ephemeral"), "", CreateMode::Ephemeral).await?;
    client.create(&format!("{at}/number-"), "", CreateMode::PersistentSequential).await?;
    client.create(&format!("{at}/container"), "", CreateMode::Container).await?;
    let ttl = CreateMode::PersistentWithTtl(Duration::from_secs(600));
    client.create_with_stat(&format!("{at}/ttl"), "", ttl).await?;
    client.sync(at).await?;
    ensure!(client.get(at).await?.data == "second");
    client.authenticate("digest", "user:password").await?;
    let mine = CreateMode::Persistent.with_acl(Acl::creator_all());
    client.create(&format!("{at}/private"), "secret", mine).await?;
    client.set_acl(&format!("{at}/private"), Acl::read_unsafe(), None).await?;
    let multi = client.multi().create(&format!("{at}/both"), "", CreateMode::Persistent);
    multi.set(at, "third", None).check(at, None).delete(&format!("{at}/both"), None).commit().await?;
    let nothing = format!("{at}/nothing");
    let refused = client.multi().set(at, "fourth", None).delete(&nothing, None).commit().await;
    ensure!(refused.is_err() || refused.is_ok_and(|results| !results.is_empty()));
    ensure!(client.set(&nothing, "", None).await.is_err(), "{nothing} is there");
    client.delete(&format!("{at}/container"), None).await?;
    Ok(())
}
