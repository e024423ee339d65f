//! Kafka's clients, unmodified, do with our broker what their users do: topics, records of every codec, groups that
//! rebalance, offsets, configs, and the errors that users meet.
//!
//! Each client has a script of its own in `interop/kafka`, which says scenario by scenario how it went.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::peer;
use tests::scripted::must_succeed;
use tests::service::interop_dir;
use tests::zkbroker::Cluster;

#[test]
fn kcat_does_what_its_users_do() -> Result<()> {
    let mut python = Command::new("python3");
    peer::installed("/usr/bin/kcat".as_ref())?;
    run(python.arg(interop_dir("kafka").join("kcat_scenarios.py")), "auto.create.topics.enable=true\n")
}

#[test]
fn kafka_python_does_what_its_users_do() -> Result<()> {
    run_python("kafka_python_scenarios.py")
}

#[test]
fn kafka_python_does_the_same_with_three_brokers() -> Result<()> {
    let mut python = Command::new(peer::kafka_python()?);
    run_on(3, python.arg(interop_dir("kafka").join("kafka_python_scenarios.py")), "")
}

/// Small segments, and whoever looks after them never rests.
#[test]
fn a_consumer_finds_what_retention_and_compaction_leave() -> Result<()> {
    let mut python = Command::new(peer::kafka_python()?);
    let config =
        "log.initial.task.delay.ms=0\nlog.retention.check.interval.ms=100\nlog.cleaner.backoff.ms=100\n";
    run(python.arg(interop_dir("kafka").join("cleanup_scenarios.py")), config)
}

#[test]
fn confluent_kafka_does_what_its_users_do() -> Result<()> {
    run_python("confluent_scenarios.py")
}

#[test]
fn aiokafka_does_what_its_users_do() -> Result<()> {
    run_python("aiokafka_scenarios.py")
}

#[test]
fn kafkajs_does_what_its_users_do() -> Result<()> {
    let mut node = Command::new("node");
    node.env("NODE_PATH", peer::kafka_node_modules()?);
    run(node.arg(interop_dir("kafka").join("kafkajs_scenarios.js")), "")
}

fn run_python(script: &str) -> Result<()> {
    let mut python = Command::new(peer::kafka_python()?);
    run(python.arg(interop_dir("kafka").join(script)), "")
}

fn run(client: &mut Command, config: &str) -> Result<()> {
    run_on(1, client, config)
}

fn run_on(brokers: u32, client: &mut Command, config: &str) -> Result<()> {
    must_succeed(&Cluster::start(brokers, config)?, client, Duration::from_secs(300))
}
