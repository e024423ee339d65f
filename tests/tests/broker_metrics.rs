//! What a broker counts, as Prometheus reads it.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::process::{self, wait_until};
use tests::zkbroker::Cluster;

const PATIENCE: Duration = Duration::from_secs(30);

#[test]
fn records_partitions_and_groups_are_counted() -> Result<()> {
    let mut cluster = Cluster::start(1, "metrics.http.port=0\nauto.create.topics.enable=true\n")?;
    let servers = cluster.bootstrap();
    // Any file is a record.
    let file = cluster.brokers()[0].dir().join("server.properties").display().to_string();
    kcat(&["-b", &servers, "-P", "-t", "counted", "-p", "0", &file])?;
    let group = ["-b", &servers, "-G", "readers", "-c", "1", "-X", "auto.offset.reset=earliest", "counted"];
    ensure!(kcat(&group)?.contains("broker.id=1"), "the record is read");

    let address = metrics_address(&cluster)?;
    let mut page = String::new();
    let bytes_in = "kafka_server_brokertopicmetrics_bytesin_total{topic=\"counted\"} ";
    let wanted = [
        "kafka_server_brokertopicmetrics_messagesin_total{topic=\"counted\"} 1",
        "kafka_log_log_logendoffset{topic=\"counted\",partition=\"0\"} 1",
        "kafka_server_replicamanager_leadercount 6",
        "kafka_server_replicamanager_underreplicatedpartitions 0",
        "kafka_controller_kafkacontroller_activecontrollercount 1",
        "kafka_coordinator_group_groupmetadatamanager_numgroups 1",
        "kafka_coordinator_group_groupmetadatamanager_numgroupsempty 1",
        "kafka_coordinator_group_groupmetadatamanager_numoffsets 1",
    ];
    // The consumer's leave may still be under way.
    let all = wait_until(PATIENCE, || {
        page = get(&address).unwrap_or_default();
        wanted.iter().all(|line| page.lines().any(|it| it == *line))
    });
    ensure!(all, "of {wanted:#?} not all is in\n{page}\nthe broker's log:\n{}", cluster.brokers()[0].log());
    ensure!(
        page.contains(bytes_in)
            && page.contains("# TYPE kafka_server_brokertopicmetrics_bytesin_total counter")
    );
    Ok(())
}

fn kcat(arguments: &[&str]) -> Result<String> {
    let finished = process::run(Command::new("kcat").args(arguments), PATIENCE)?;
    ensure!(finished.code == Some(0), "kcat {arguments:?}: {}", finished.output);
    Ok(finished.output)
}

/// As the broker says: `metrics bound=127.0.0.1:40000`.
fn metrics_address(cluster: &Cluster) -> Result<String> {
    use tests::scripted::Served;
    let log = cluster.log();
    let (_, behind) = log.split_once("metrics bound=").with_context(|| format!("no address in {log}"))?;
    Ok(behind.split_whitespace().next().unwrap_or_default().to_owned())
}

fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    Ok(answer)
}
