//! What brokers keep in the service, as others see it: kazoo path by path, on the Java server and on ours, and an operator
//! with our shell.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::peer;
use tests::process::{self, wait_until};
use tests::scripted::must_succeed;
use tests::service::{Service, interop_dir};
use tests::zkbroker::Cluster;
use tests::zkserver;
use tokio::time::Instant;

/// The session that brokers have under test.
const SESSION: Duration = Duration::from_secs(6);
/// A service looks for sessions that have ended once a tick, which is 2 s unless it is told otherwise; the rest is for a busy
/// machine.
const SLACK: Duration = Duration::from_secs(2 + 4);
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn kazoo_finds_kafkas_layout_on_the_java_server() -> Result<()> {
    kazoo_finds_kafkas_layout(peer::start()?)
}

#[test]
fn kazoo_finds_kafkas_layout_on_our_server() -> Result<()> {
    kazoo_finds_kafkas_layout(zkserver::start()?)
}

fn kazoo_finds_kafkas_layout(service: Service) -> Result<()> {
    // The third is given its number: 1001.
    let configs = ["broker.rack=rack-1\n", "broker.rack=rack-2\n", "broker.rack=rack-1001\nbroker.id=-1\n"];
    let cluster = Cluster::start_on(service, configs)?;
    let mut python = Command::new(peer::kafka_python()?);
    python.arg(interop_dir("kafka").join("metadata_scenarios.py"));
    python.env("ZOOKEEPER_CONNECT", cluster.connect());
    must_succeed(&cluster, &mut python, Duration::from_secs(120))
}

#[test]
fn the_shell_shows_the_cluster() -> Result<()> {
    let mut cluster = Cluster::start(2, "")?;
    let shell = Shell { connect: cluster.connect() };
    let topic = r#"{"version":1,"partitions":{"0":[2,1]}}"#;
    assert!(shell.run(&["create", "/brokers/topics/seen", topic])?.contains("Created /brokers/topics/seen"));

    assert_eq!(shell.answer(&["ls", "/brokers/ids"])?, "[1, 2]");
    assert_eq!(shell.answer(&["ls", "/brokers/topics"])?, "[seen]");
    assert_eq!(shell.answer(&["get", "/brokers/topics/seen"])?, topic);
    let state = ["get", "/brokers/topics/seen/partitions/0/state"];
    let wanted = |leader, epoch, isr| {
        format!(
            r#"{{"version":1,"leader":{leader},"leader_epoch":{epoch},"controller_epoch":1,"isr":[{isr}]}}"#
        )
    };
    shell.until(&state, &wanted(2, 0, "2,1"))?;
    let registration = shell.answer(&["get", "/brokers/ids/2"])?;
    let address = cluster.brokers()[1].address();
    assert!(registration.contains(&format!(r#""endpoints":["PLAINTEXT://{address}"]"#)), "{registration}");
    assert!(shell.answer(&["get", "/controller"])?.contains(r#""brokerid":1"#));

    // Without a word, as a machine that lost its power.
    let killed = Instant::now();
    cluster.brokers()[1].kill()?;
    shell.until(&["ls", "/brokers/ids"], "[1]")?;
    shell.until(&state, &wanted(1, 1, "1"))?;
    let first = cluster.brokers()[0].address().to_string();
    ensure!(
        wait_until(PATIENCE, || brokers_known_to(&first).is_ok_and(|known| known == "1 brokers:")),
        "the other broker still tells of it"
    );
    let took = killed.elapsed();
    println!("the others saw after {took:?} that it was gone, its session being of {SESSION:?}");
    ensure!(took < SESSION + SLACK, "the others saw it only after {took:?}");
    Ok(())
}

/// `zkcli`, one command at a time.
struct Shell {
    connect: String,
}

impl Shell {
    fn run(&self, command: &[&str]) -> Result<String> {
        let mut zkcli = Command::new(zkserver::binary("client", "zkcli")?);
        let finished = process::run(zkcli.args(["-server", &self.connect]).args(command), PATIENCE)?;
        ensure!(finished.code == Some(0), "{command:?}: {}", finished.output);
        Ok(finished.output)
    }

    /// The last line of what it prints.
    fn answer(&self, command: &[&str]) -> Result<String> {
        let output = self.run(command)?;
        Ok(output.lines().last().with_context(|| format!("{command:?} says nothing"))?.to_owned())
    }

    fn until(&self, command: &[&str], wanted: &str) -> Result<()> {
        let mut last = Ok(String::new());
        wait_until(PATIENCE, || {
            last = self.answer(command);
            last.as_ref().is_ok_and(|answer| answer == wanted)
        });
        let last = last?;
        ensure!(last == wanted, "{command:?} says {last}, not {wanted}");
        Ok(())
    }
}

/// How kcat begins its list of them: `2 brokers:`.
fn brokers_known_to(address: &str) -> Result<String> {
    peer::installed("/usr/bin/kcat".as_ref())?;
    let finished = process::run(Command::new("kcat").args(["-b", address, "-L"]), PATIENCE)?;
    let line = finished.output.lines().map(str::trim).find(|line| line.ends_with("brokers:"));
    Ok(line.with_context(|| finished.output.clone())?.to_owned())
}
