//! A disk that fills up under a broker: producers are told so, whatever was acknowledged can be read, and records are taken
//! again once there is room. Needs to mount; where that is not allowed, it says so.

use std::io::{BufRead, BufReader, Write};
use std::process::{ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::peer;
use tests::process::Process;
use tests::scripted::Served;
use tests::service::interop_dir;
use tests::small_disk::SmallDisk;
use tests::zkbroker::Cluster;

const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn a_full_disk_refuses_records_loses_none_and_recovers_by_itself() -> Result<()> {
    let Some(disk) = SmallDisk::mount()? else { return Ok(()) };
    let config = format!("log.dirs={}\n", disk.path().join("logs").display());
    let mut cluster = Cluster::start(1, &config)?;
    let mut clients = Clients::start(&cluster.bootstrap())?;
    let written = clients.says("ready").with_context(|| cluster.log())?;
    disk.fill()?;
    clients.go_on()?;
    clients.says("full").with_context(|| cluster.log())?;
    // It comes back on a disk that is still full.
    cluster.brokers()[0].restart()?;
    disk.clear()?;
    clients.go_on()?;
    let in_all = clients.says("room").with_context(|| cluster.log())?;
    ensure!(in_all > written, "{in_all} records in all, {written} of them before the disk was full");
    cluster.brokers()[0].stop()?;
    cluster.brokers()[0].restart()?;
    clients.go_on()?;
    let ended = clients.process.wait(PATIENCE)?;
    ensure!(ended.success(), "the clients ended with {ended}; the broker's log:\n{}", cluster.log());
    Ok(())
}

/// `full_disk.py`.
struct Clients {
    process: Process,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Clients {
    fn start(servers: &str) -> Result<Self> {
        let mut python = Command::new(peer::kafka_python()?);
        python.arg(interop_dir("kafka").join("full_disk.py")).arg(servers);
        let mut process = Process::spawn(python.stdin(Stdio::piped()).stdout(Stdio::piped()))?;
        let child = process.child();
        let input = child.stdin.take().context("its input")?;
        let output = BufReader::new(child.stdout.take().context("its output")?);
        Ok(Self { process, input, output })
    }

    /// Waits for `word`, and gives how many records are acknowledged.
    fn says(&mut self, word: &str) -> Result<usize> {
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let (said, count) =
            line.trim().split_once(' ').with_context(|| format!("the clients said {line:?}"))?;
        ensure!(said == word, "the clients said {line:?} in place of {word}");
        Ok(count.parse()?)
    }

    fn go_on(&mut self) -> Result<()> {
        Ok(self.input.write_all(b"\n")?)
    }
}
