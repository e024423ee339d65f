//! Our brokers under test: each a process with a directory of its own, all of a cluster on the same service.
//!
//! A broker takes the port that the system gives it at its first start, and keeps it: clients that know no other broker
//! find it again after a restart.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::process::{Process, wait_until};
use crate::scripted::Served;
use crate::service::Service;
use crate::zkserver;

/// How long a start or an orderly stop may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// Below which everything of a cluster under test stands in the service.
const CHROOT: &str = "/kafka";

/// A broker's number, its `broker.id`.
pub type Id = u32;

/// A broker that runs, or could. Its directory goes when it is dropped.
#[derive(Debug)]
pub struct Broker {
    id: Id,
    address: SocketAddr,
    starts: usize,
    process: Process,
    dir: TempDir,
}

impl Broker {
    /// Starts broker `id` of the cluster at `connect`, a `zookeeper.connect`, and waits until it serves. The lines of
    /// `config` come after our own and outdo them.
    ///
    /// # Errors
    /// When it ends, or does not serve in time; the error holds its log.
    pub fn start(id: Id, connect: &str, config: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("zkbroker-").tempdir()?;
        let file = dir.path().join("server.properties");
        fs::write(&file, configuration(id, connect, dir.path()) + config)?;
        let process = spawn(dir.path(), 1)?;
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut broker = Self { id, address, starts: 1, process, dir };
        broker.address = broker.wait_until_serving()?;
        broker.keep_port()?;
        Ok(broker)
    }

    /// Later starts bind the same port.
    fn keep_port(&self) -> Result<()> {
        let file = self.dir.path().join("server.properties");
        let bound = fs::read_to_string(&file)?.replace("127.0.0.1:0\n", &format!("{}\n", self.address));
        Ok(fs::write(file, bound)?)
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill()?)
    }

    /// Ends it as operators do, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end well; the error holds its log.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("TERM")?;
        let ended = self.wait(PATIENCE)?;
        ensure!(ended.success(), "broker {} ended with {ended}; its log:\n{}", self.id, self.log());
        Ok(())
    }

    /// Sends it the signal of this name, such as `STOP` or `CONT`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, name: &str) -> Result<()> {
        self.process.signal(name)
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    /// Starts it again on what it left behind, without waiting for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.starts += 1;
        self.process = spawn(self.dir.path(), self.starts)?;
        Ok(())
    }

    /// Starts it again on what it left behind, and waits until it serves.
    ///
    /// # Errors
    /// See [`Broker::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.begin_restart()?;
        self.wait_until_serving().map(drop)
    }

    /// Waits until it is registered and answers, and gives where.
    ///
    /// # Errors
    /// See [`Broker::start`].
    pub fn wait_until_serving(&mut self) -> Result<SocketAddr> {
        let (mut ended, mut address) = (None, None);
        let (process, log) = (&mut self.process, log_file(self.dir.path(), self.starts));
        wait_until(PATIENCE, || {
            address = fs::read_to_string(&log).ok().as_deref().and_then(bound_address);
            ended = process.try_wait().ok().flatten();
            address.is_some() || ended.is_some()
        });
        let served = match (ended, address) {
            (Some(status), _) => Err(anyhow!("ended with {status} before it served")),
            (None, None) => Err(anyhow!("does not serve after {PATIENCE:?}")),
            (None, Some(address)) => Ok(address),
        };
        served.with_context(|| format!("broker {}; its log:\n{}", self.id, self.log()))
    }

    /// Its number.
    pub fn id(&self) -> Id {
        self.id
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that serves it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its directory, with `server.properties`, a log of each start, and `logs`, where the partitions are.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged since its first start.
    pub fn log(&self) -> String {
        let of_start = |start| fs::read_to_string(log_file(self.dir.path(), start)).unwrap_or_default();
        (1..=self.starts).map(of_start).collect()
    }
}

/// Brokers on a server.
#[derive(Debug)]
pub struct Cluster {
    // Brokers take their leave from the service: they are dropped first.
    brokers: Vec<Broker>,
    service: Service,
}

impl Cluster {
    /// As many brokers as asked for, numbered from 1; see [`Broker::start`] for `config`.
    ///
    /// # Errors
    /// When one of them, or the server, does not start; the error holds its log.
    pub fn start(brokers: Id, config: &str) -> Result<Self> {
        Self::start_on(zkserver::start()?, (1..=brokers).map(|_| config))
    }

    /// The same on `service`, each broker with a `config` of its own.
    ///
    /// # Errors
    /// See [`Cluster::start`].
    pub fn start_on<'c>(service: Service, configs: impl IntoIterator<Item = &'c str>) -> Result<Self> {
        let connect = connect_to(&service);
        let start = |(id, config)| Broker::start(id, &connect, config);
        let brokers = (1..).zip(configs).map(start).collect::<Result<_>>()?;
        Ok(Self { brokers, service })
    }

    /// The `zookeeper.connect` of its brokers.
    pub fn connect(&self) -> String {
        connect_to(&self.service)
    }

    /// The brokers, in the order of their numbers.
    pub fn brokers(&mut self) -> &mut [Broker] {
        &mut self.brokers
    }

    /// The server that keeps their metadata, below `/kafka`.
    pub fn service(&mut self) -> &mut Service {
        &mut self.service
    }

    /// What clients are given as `bootstrap.servers`.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|broker| broker.address().to_string()).collect::<Vec<_>>().join(",")
    }
}

fn connect_to(service: &Service) -> String {
    format!("{}{CHROOT}", service.address())
}

impl Served for Cluster {
    fn name(&self) -> &str {
        "zkbroker"
    }

    fn address(&self) -> String {
        self.bootstrap()
    }

    fn log(&self) -> String {
        self.brokers.iter().map(|broker| format!("broker {}:\n{}", broker.id(), broker.log())).collect()
    }
}

fn spawn(dir: &Path, start: usize) -> Result<Process> {
    let mut command = Command::new(zkserver::binary("broker", "zkbroker")?);
    command.arg("--log-level").arg("debug").arg(dir.join("server.properties")).current_dir(dir);
    Process::spawn_logging_to(&mut command, &log_file(dir, start))
}

fn log_file(dir: &Path, start: usize) -> std::path::PathBuf {
    dir.join(format!("broker.log.{start}"))
}

/// From the line with which a broker says that it has started: `started .. addresses=[127.0.0.1:9092]`.
fn bound_address(log: &str) -> Option<SocketAddr> {
    let line = log.lines().find(|line| line.contains(" started "))?;
    let (_, addresses) = line.split_once("addresses=[")?;
    addresses.split([',', ']']).next()?.parse().ok()
}

/// Rebalances that begin at once, sessions that end while a test looks on, and a topic of offsets that is there soon.
fn configuration(id: Id, connect: &str, dir: &Path) -> String {
    format!(
        "broker.id={id}\n\
         listeners=PLAINTEXT://127.0.0.1:0\n\
         zookeeper.connect={connect}\n\
         zookeeper.session.timeout.ms=6000\n\
         log.dirs={}\n\
         group.initial.rebalance.delay.ms=0\n\
         group.min.session.timeout.ms=1000\n\
         offsets.topic.num.partitions=5\n\
         offsets.topic.replication.factor=1\n\
         auto.create.topics.enable=false\n",
        dir.join("logs").display(),
    )
}
