//! Three brokers on three of our servers, replication 3, two in sync at least: whoever is killed, or stopped for a while, under load,
//! no acknowledged record is lost, none is out of order, and none stands twice.

use std::env;
use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail, ensure};
use client::{Client, ErrorCode};
use serde_json::Value;
use tests::ensemble::{Ensemble, Kind, Plan};
use tests::peer;
use tests::process::{Process, wait_until};
use tests::service::interop_dir;
use tests::zkbroker::{Broker, Id};
use tokio::time::Instant;

const TOPIC: &str = "under-load";
const PARTITIONS: usize = 3;
/// A session of brokers that is short enough for a test.
const CONFIG: &str = "zookeeper.session.timeout.ms=4000\nmin.insync.replicas=2\noffsets.topic.replication.factor=3\n\
                      default.replication.factor=3\nnum.partitions=3\nreplica.lag.time.max.ms=4000\n";
const PATIENCE: Duration = Duration::from_secs(90);
/// So many records are acknowledged between one kill and the next.
const RECORDS: u64 = 1000;

/// Who is killed, in turn.
const VICTIMS: [Victim; 4] =
    [Victim::PartitionLeader, Victim::Controller, Victim::CoordinationLeader, Victim::StoppedLeader];

#[derive(Debug, Clone, Copy)]
enum Victim {
    PartitionLeader,
    Controller,
    CoordinationLeader,
    /// Not killed, but made to stand still until another leads: it wakes up, and believes that it still does.
    StoppedLeader,
}

/// A round for each victim; `MENAGERIE_BROKER_ROUNDS` asks for more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_acknowledged_record_is_lost_whoever_is_killed() -> Result<()> {
    let rounds = match env::var("MENAGERIE_BROKER_ROUNDS") {
        Ok(rounds) => rounds.parse().context("MENAGERIE_BROKER_ROUNDS")?,
        Err(_) => VICTIMS.len(),
    };
    let mut stage = Stage::set().await?;
    for (round, victim) in VICTIMS.into_iter().cycle().take(rounds).enumerate() {
        stage.strike(victim).await.with_context(|| format!("round {round}: {victim:?}"))?;
    }
    stage.finish()
}

struct Stage {
    load: Load,
    brokers: Vec<Broker>,
    client: Client,
    ensemble: Ensemble,
}

impl Stage {
    async fn set() -> Result<Self> {
        let ensemble = Plan::of(&[Kind::Ours; 3]).start()?;
        let connect = format!("{}/kafka", ensemble.servers());
        let brokers = (1..=3).map(|id| Broker::start(id, &connect, CONFIG)).collect::<Result<Vec<_>>>()?;
        let client = Client::connect(&connect).await?;
        let bootstrap: Vec<_> = brokers.iter().map(|broker| broker.address().to_string()).collect();
        create_topic(&client).await?;
        wait_until_all_in_sync(&client, &brokers).await?;
        let load = Load::start(&bootstrap.join(","))?;
        let mut stage = Self { load, brokers, client, ensemble };
        stage.progress()?;
        Ok(stage)
    }

    /// Kills, waits until the load goes on without the victim, and brings it back.
    async fn strike(&mut self, victim: Victim) -> Result<()> {
        wait_until_all_in_sync(&self.client, &self.brokers).await?;
        self.load.ask()?;
        let what = match victim {
            Victim::CoordinationLeader => {
                let leader = self.ensemble.leader().context("no leader")?;
                self.ensemble.kill(leader)?;
                self.progress()?;
                self.ensemble.start(leader)?;
                self.ensemble.wait_until_serving(leader)?;
                format!("server {leader}")
            }
            Victim::StoppedLeader => {
                let id = self.broker_of(victim).await?;
                self.broker(id)?.signal("STOP")?;
                self.progress()?;
                self.broker(id)?.signal("CONT")?;
                format!("broker {id}")
            }
            Victim::PartitionLeader | Victim::Controller => {
                let id = self.broker_of(victim).await?;
                let broker = self.broker(id)?;
                broker.kill()?;
                self.progress()?;
                self.restart(id)?;
                format!("broker {id}")
            }
        };
        let (count, gap_ms) = self.load.ask()?;
        println!(
            "{victim:?} ({what}): {gap_ms} ms without an acknowledged record, {count} acknowledged in all"
        );
        Ok(())
    }

    async fn broker_of(&self, victim: Victim) -> Result<Id> {
        let (path, key) = match victim {
            Victim::Controller => ("/controller".to_owned(), "brokerid"),
            _ => (state_path(0), "leader"),
        };
        let payload = payload(&self.client, &path).await?;
        let id = payload[key].as_u64().with_context(|| format!("{path}: {payload}"))?;
        Ok(Id::try_from(id)?)
    }

    fn broker(&mut self, id: Id) -> Result<&mut Broker> {
        self.brokers.iter_mut().find(|broker| broker.id() == id).context("no such broker")
    }

    /// A broker that comes back before its old session has ended is refused; so it tries again.
    fn restart(&mut self, id: Id) -> Result<()> {
        let broker = self.broker(id)?;
        let mut last = Err(anyhow!("not tried"));
        wait_until(PATIENCE, || {
            last = broker.restart();
            last.is_ok()
        });
        last
    }

    /// Until more records are acknowledged.
    fn progress(&mut self) -> Result<()> {
        let (before, _) = self.load.ask()?;
        let mut failed = None;
        let went_on = wait_until(PATIENCE, || match self.load.peek() {
            Ok(count) => count >= before + RECORDS,
            Err(error) => {
                failed = Some(error);
                true
            }
        });
        match failed {
            Some(error) => Err(error),
            None => {
                ensure!(went_on, "no progress; the brokers' logs:\n{}", logs(&self.brokers));
                Ok(())
            }
        }
    }

    fn finish(self) -> Result<()> {
        self.load.finish()
    }
}

async fn wait_until_all_in_sync(client: &Client, brokers: &[Broker]) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let mut in_sync = 0;
        for partition in 0..PARTITIONS {
            let state = payload(client, &state_path(partition)).await?;
            in_sync += usize::from(state["isr"].as_array().is_some_and(|isr| isr.len() == brokers.len()));
        }
        if in_sync == PARTITIONS {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    bail!("not all replicas come to be in sync; the brokers' logs:\n{}", logs(brokers))
}

/// Null if there is no such znode. The server that is asked may be the one that has been killed: then another one is.
async fn payload(client: &Client, path: &str) -> Result<Value> {
    loop {
        match client.get(path).await {
            Ok(znode) => return Ok(serde_json::from_slice(&znode.data)?),
            Err(error) if error.code() == Some(ErrorCode::NoNode) => return Ok(Value::Null),
            Err(error) if error.is_transient() => client.connected().await?,
            Err(error) => return Err(error.into()),
        }
    }
}

/// The last of what each has logged.
fn logs(brokers: &[Broker]) -> String {
    let tail = |broker: &Broker| {
        let log = broker.log();
        let lines: Vec<_> = log.lines().collect();
        let from = lines.len().saturating_sub(40);
        format!("broker {}:\n{}\n", broker.id(), lines[from..].join("\n"))
    };
    brokers.iter().map(tail).collect()
}

fn state_path(partition: usize) -> String {
    format!("/brokers/topics/{TOPIC}/partitions/{partition}/state")
}

/// As an administrator's tool does it, in the service; the controller does the rest.
async fn create_topic(client: &Client) -> Result<()> {
    let assignment = r#"{"version":1,"partitions":{"0":[1,2,3],"1":[2,3,1],"2":[3,1,2]}}"#;
    client.create(&format!("/brokers/topics/{TOPIC}"), assignment, client::CreateMode::Persistent).await?;
    Ok(())
}

/// The producer, a process of its own.
struct Load {
    process: Process,
    questions: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
    /// The longest gap that was told and not yet asked for.
    gap_ms: u64,
}

impl Load {
    fn start(bootstrap: &str) -> Result<Self> {
        let mut python = Command::new(peer::kafka_python()?);
        python.arg(interop_dir("kafka").join("load.py")).args([TOPIC, bootstrap]);
        let mut process =
            Process::spawn(python.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()))?;
        let child = process.child();
        let questions = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().context("its answers")?);
        Ok(Self { process, questions, answers, gap_ms: 0 })
    }

    /// How many are acknowledged, and the longest time without one since the last time that this was asked.
    fn ask(&mut self) -> Result<(u64, u64)> {
        let count = self.peek()?;
        Ok((count, std::mem::take(&mut self.gap_ms)))
    }

    fn peek(&mut self) -> Result<u64> {
        let questions = self.questions.as_mut().context("the load has ended")?;
        questions.write_all(b"?\n")?;
        questions.flush()?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        let (count, gap_ms) =
            line.trim().split_once(' ').with_context(|| format!("the load said {line:?}"))?;
        self.gap_ms = self.gap_ms.max(gap_ms.parse()?);
        Ok(count.parse()?)
    }

    /// Has everything read and checked.
    fn finish(mut self) -> Result<()> {
        drop(self.questions.take());
        let ended = self.process.wait(Duration::from_secs(600))?;
        let mut said = String::new();
        std::io::Read::read_to_string(&mut self.answers, &mut said)?;
        ensure!(ended.success(), "the load ended with {ended}: {said}");
        println!("{}", said.trim());
        Ok(())
    }
}
