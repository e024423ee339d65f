//! kazoo, Java's client and Curator work through elections: while the leader is killed and every server started again,
//! each keeps its session, its ephemeral, its lock and its watches, and counts on without missing or repeating a number.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Client, CreateMode};
use tests::ensemble::{Ensemble, Id, Kind, Plan};
use tests::peer;
use tests::process::{Process, run};
use tests::service::interop_dir;

/// A JVM on a busy machine takes its time; the programs themselves wait for half of it.
const LIMIT: Duration = Duration::from_secs(60);

const JARS: &[&str] = &[
    "curator-client.jar",
    "curator-framework.jar",
    "curator-recipes.jar",
    "zookeeper.jar",
    "zookeeper-jute.jar",
    "guava.jar",
    "slf4j-api.jar",
    "slf4j-nop.jar",
];

/// A program that holds a session, and says on request whether it still has everything.
struct Holder {
    name: &'static str,
    process: Process,
    lines: Receiver<String>,
}

impl Holder {
    fn start(name: &'static str, mut command: Command, ensemble: &Ensemble) -> Result<Self> {
        command.arg(ensemble.servers()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::spawn(&mut command)?;
        let output = process.child().stdout.take().context("its output is piped")?;
        let (sender, lines) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { name, process, lines })
    }

    fn tell(&mut self, news: &str) -> Result<()> {
        let input = self.process.child().stdin.as_mut().context("its input is piped")?;
        writeln!(input, "{news}").with_context(|| format!("{} has ended", self.name))
    }

    fn expect(&self, beginning: &str) -> Result<String> {
        let line = self.lines.recv_timeout(LIMIT).with_context(|| format!("{}: silent", self.name))?;
        let rest = || self.lines.try_iter().collect::<Vec<_>>().join("\n");
        ensure!(line.starts_with(beginning), "{}: {line} is not {beginning}\n{}", self.name, rest());
        Ok(line)
    }

    /// It has nothing more to hear, and finds that others get what it lets go of.
    fn end(mut self) -> Result<String> {
        drop(self.process.child().stdin.take());
        let counted = self.expect("done")?;
        let ended = self.process.wait(LIMIT)?;
        ensure!(ended.success(), "{} ended with {ended}", self.name);
        Ok(format!("{}: {counted}", self.name))
    }
}

fn holders(ensemble: &Ensemble) -> Result<Vec<Holder>> {
    let dir = interop_dir("elections");
    let mut javac = Command::new("javac");
    peer::installed(&Path::new(peer::JARS).join("curator-recipes.jar"))?;
    javac.args(["-nowarn", "-cp", &peer::class_path(JARS), "-d"]).arg(ensemble.dir());
    let compiled = run(javac.arg(dir.join("Session.java")), LIMIT)?;
    ensure!(compiled.code == Some(0), "javac: {}", compiled.output);
    let class_path = format!("{}:{}", peer::class_path(JARS), ensemble.dir().display());
    let java = |library: &str| {
        let mut java = peer::java();
        java.args(["-cp", &class_path, "Session", library]);
        java
    };
    let mut python = Command::new(peer::kazoo_python()?);
    python.arg(dir.join("kazoo_session.py"));
    let holders = [("kazoo", python), ("Java's client", java("plain")), ("Curator", java("curator"))];
    holders.into_iter().map(|(name, command)| Holder::start(name, command, ensemble)).collect()
}

/// What changes on /news, and who is to see it.
struct Story {
    ensemble: Ensemble,
    teller: Client,
    holders: Vec<Holder>,
}

impl Story {
    async fn begin(composition: &str) -> Result<Self> {
        let ensemble = Plan::of(&Kind::of_letters(composition)).start()?;
        let teller = Client::connect(&ensemble.servers()).await?;
        teller.create("/news", "", CreateMode::Persistent).await?;
        let holders = holders(&ensemble)?;
        for holder in &holders {
            holder.expect("ready")?;
        }
        Ok(Self { ensemble, teller, holders })
    }

    /// Everybody sees it, and has what it had.
    async fn tell(&mut self, news: &str) -> Result<()> {
        while let Err(error) = self.teller.set("/news", news.to_owned(), None).await {
            ensure!(error.is_transient(), "telling {news}: {error}");
        }
        self.holders.iter_mut().try_for_each(|holder| holder.tell(news))?;
        for holder in &self.holders {
            let seen = holder.expect(&format!("seen {news}"));
            seen.with_context(|| format!("after {news}\n{}", self.ensemble.logs()))?;
        }
        Ok(())
    }

    fn kill_and_start(&mut self, id: Id) -> Result<()> {
        self.ensemble.kill(id)?;
        self.ensemble.start(id)
    }
}

#[tokio::test]
async fn clients_work_through_elections() -> Result<()> {
    let mut story = Story::begin("OOO").await?;
    story.tell("the beginning").await?;

    for round in 0..3 {
        let leader = story.ensemble.wait_for_leader_other_than(None)?;
        story.ensemble.kill(leader)?;
        story.tell(&format!("leader {leader} was killed in round {round}")).await?;
        story.ensemble.start(leader)?;
        story.ensemble.wait_until_serving(leader)?;
    }
    for id in story.ensemble.ids() {
        story.kill_and_start(id)?;
        story.tell(&format!("server {id} was started again")).await?;
        story.ensemble.wait_until_serving(id)?;
    }
    for id in story.ensemble.ids() {
        story.ensemble.replace(id, Kind::Ours)?;
        story.tell(&format!("server {id} was stopped and started")).await?;
    }

    for holder in story.holders {
        println!("{}", holder.end()?);
    }
    Ok(())
}
