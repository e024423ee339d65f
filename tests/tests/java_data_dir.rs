//! Our server takes the place of a Java server in its own directory, and gives it back: every znode stays what it was.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Acl, Client, CreateMode, perms};
use tests::crash::Ledger;
use tests::process::{Finished, run};
use tests::service::{Service, Settings};
use tests::tree_copy::{self, TreeCopy, ensure_equal, monitored};
use tests::{peer, zkserver};

const LIMIT: Duration = Duration::from_secs(60);
/// Their ephemerals are to be found in the trees that are compared.
const SESSION: Duration = Duration::from_secs(60);
const FOREVER: Duration = Duration::from_secs(24 * 3600);

/// So few txns to a snapshot that a short load leaves several, and several logs.
fn settings(compression: &str) -> Settings {
    let config = format!("snapCount=300\npreAllocSize=1024\nsnapshot.compression.method={compression}\n");
    Settings { config, ..Settings::default() }
}

/// Clients that hold sessions while servers come and go beneath them.
struct Load {
    clients: Vec<Client>,
    /// So that every round makes znodes of its own.
    rounds: usize,
}

impl Load {
    async fn begin(servers: &str) -> Result<Self> {
        let mut clients = Vec::new();
        for user in 0..3 {
            let credentials = format!("user{user}:secret");
            let builder = Client::builder().session_timeout(SESSION).credentials("digest", credentials);
            clients.push(builder.connect(servers).await?);
        }
        clients[0].create_all("/load").await?;
        Ok(Self { clients, rounds: 0 })
    }

    /// Everything that leaves its trace in a tree.
    async fn round(&mut self) -> Result<()> {
        self.rounds += 1;
        let base = format!("/load/{}", self.rounds);
        let first = &self.clients[0];
        first.create(&base, "", CreateMode::Persistent).await?;
        quotas(first, &base).await?;
        for (at, client) in self.clients.iter().enumerate() {
            modes(client, &format!("{base}/modes{at}")).await?;
            acls(client, &format!("{base}/acls{at}")).await?;
            multis(client, &format!("{base}/multis{at}")).await?;
        }
        many(first, &format!("{base}/many")).await?;
        // One session ends, with what it owns.
        let passing = Client::connect(&first.server().context("not connected")?.to_string()).await?;
        passing.create(&format!("{base}/passing"), "", CreateMode::Ephemeral).await?;
        passing.close().await?;
        Ok(())
    }
}

async fn modes(client: &Client, base: &str) -> Result<()> {
    client.create(base, "below", CreateMode::Persistent).await?;
    client.create(&format!("{base}/null"), client::Data::NULL, CreateMode::Persistent).await?;
    client.create(&format!("{base}/\u{e4}\u{3042}"), "not ASCII", CreateMode::Persistent).await?;
    client.create(&format!("{base}/ephemeral"), "mine", CreateMode::Ephemeral).await?;
    let mut numbered = String::new();
    for _ in 0..3 {
        numbered = client.create(&format!("{base}/n-"), "", CreateMode::PersistentSequential).await?;
        client.create(&format!("{base}/e-"), "", CreateMode::EphemeralSequential).await?;
    }
    client.delete(&numbered, None).await?;
    client.create(&format!("{base}/container"), "", CreateMode::Container).await?;
    client.create(&format!("{base}/container/kept"), "", CreateMode::Persistent).await?;
    client.create(&format!("{base}/ttl"), "", CreateMode::PersistentWithTtl(FOREVER)).await?;
    for value in 0..5 {
        client.set(base, value.to_string(), None).await?;
    }
    Ok(())
}

async fn acls(client: &Client, base: &str) -> Result<()> {
    let mine = vec![Acl::new(perms::ALL, "auth", "")];
    client.create(base, "", CreateMode::Persistent.with_acl(mine)).await?;
    let several = vec![
        Acl::new(perms::ALL, "digest", "a:b"),
        Acl::new(perms::READ, "world", "anyone"),
        Acl::new(perms::READ | perms::WRITE, "ip", "10.0.0.0/8"),
    ];
    client.create(&format!("{base}/several"), "", CreateMode::Persistent.with_acl(several)).await?;
    client.create(&format!("{base}/changed"), "", CreateMode::Persistent).await?;
    client.set_acl(&format!("{base}/changed"), vec![Acl::new(perms::READ, "world", "anyone")], None).await?;
    Ok(())
}

async fn multis(client: &Client, base: &str) -> Result<()> {
    client
        .multi()
        .create(base, "", CreateMode::Persistent)
        .create(&format!("{base}/a"), "1", CreateMode::Persistent)
        .create(&format!("{base}/b"), "1", CreateMode::Ephemeral)
        .set(&format!("{base}/a"), "2", 0)
        .check(&format!("{base}/a"), 1)
        .delete(&format!("{base}/b"), None)
        .commit()
        .await?;
    let failing =
        client.multi().set(&format!("{base}/a"), "3", None).delete(&format!("{base}/nowhere"), None);
    ensure!(failing.commit().await.is_err(), "a multi that cannot succeed did");
    Ok(())
}

async fn quotas(client: &Client, base: &str) -> Result<()> {
    let quota = format!("/zookeeper/quota{base}");
    client.create_all(&quota).await?;
    let limits = "count=100000,bytes=-1=;byteHardLimit=100000000;countHardLimit=-1";
    client.create(&format!("{quota}/zookeeper_limits"), limits, CreateMode::Persistent).await?;
    client.create(&format!("{quota}/zookeeper_stats"), "count=0,bytes=0", CreateMode::Persistent).await?;
    Ok(())
}

async fn many(client: &Client, base: &str) -> Result<()> {
    client.create(base, "", CreateMode::Persistent).await?;
    let writes = (0..400).map(|at| async move {
        let path = format!("{base}/{}", at % 200);
        if at < 200 {
            client.create(&path, vec![7; at], CreateMode::Persistent).await.map(drop)
        } else if at % 3 == 0 {
            client.delete(&path, None).await
        } else {
            client.set(&path, vec![8; at], None).await.map(drop)
        }
    });
    futures::future::try_join_all(writes).await?;
    Ok(())
}

/// The files of a kind that the server keeps.
fn files(server: &Service, prefix: &str) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(server.dir().join("data/version-2"))? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.retain(|name| name.starts_with(prefix));
    Ok(names)
}

fn zkserver_tool(arguments: &[&str]) -> Result<Finished> {
    let finished = run(Command::new(zkserver::binary("server", "zkserver")?).args(arguments), LIMIT)?;
    ensure!(finished.code == Some(0), "zkserver {arguments:?}: {}", finished.output);
    Ok(finished)
}

/// A server that is stopped leaves what Java needs; for one that was killed, the tool writes it.
fn hand_back(server: &mut Service, compression: &str) -> Result<()> {
    if compression.is_empty() {
        return server.stop();
    }
    server.kill()?;
    let data = server.dir().join("data").display().to_string();
    zkserver_tool(&["export", "--data-dir", &data, "--compression", compression]).map(drop)
}

/// The session of whoever makes the copy is no znode, and all else stands still.
async fn copy(server: &Service) -> Result<TreeCopy> {
    let tree = tree_copy::read(&server.address().to_string()).await;
    tree.with_context(|| format!("copying the tree of {}; its log:\n{}", server.name(), server.log()))
}

fn ensure_digests_agree(server: &Service) -> Result<()> {
    let mismatches = monitored(server.address(), "zk_digest_mismatches_count")?;
    ensure!(
        mismatches == 0,
        "{}: {mismatches} txns left another digest than the log says; its log:\n{}",
        server.name(),
        server.log()
    );
    Ok(())
}

#[tokio::test]
async fn the_tree_goes_from_java_to_ours_and_back_and_again() -> Result<()> {
    for compression in ["", "gz", "snappy"] {
        there_and_back(compression).await.with_context(|| format!("compression {compression:?}"))?;
    }
    Ok(())
}

async fn there_and_back(compression: &str) -> Result<()> {
    let mut server = peer::start_with(&settings(compression))?;
    let mut load = Load::begin(&server.address().to_string()).await?;
    for _ in 0..3 {
        load.round().await?;
    }
    ensure!(
        files(&server, "snapshot.")?.len() > 1 && files(&server, "log.")?.len() > 1,
        "too little to be sure of"
    );

    let by_java = copy(&server).await?;
    server.kill()?;
    server.restart_as("zkserver", zkserver::launch)?;
    ensure_equal(&by_java, &copy(&server).await?).context("from Java to ours")?;
    ensure_digests_agree(&server)?;

    // Sessions have moved along, and their clients.
    load.round().await.context("load on ours")?;
    let by_ours = copy(&server).await?;
    server.kill()?;
    server.restart()?;
    ensure_equal(&by_ours, &copy(&server).await?).context("from ours to ours")?;
    load.round().await.context("load on ours, again")?;
    let by_ours = copy(&server).await?;
    hand_back(&mut server, compression)?;
    server.restart_as("java", peer::launch)?;
    ensure_equal(&by_ours, &copy(&server).await?).context("from ours to Java")?;
    ensure_digests_agree(&server)?;
    load.round().await.context("load on Java, again")?;
    let by_java = copy(&server).await?;
    server.stop()?;

    server.restart_as("zkserver", zkserver::launch)?;
    ensure_equal(&by_java, &copy(&server).await?).context("from Java to ours, again")?;
    ensure_digests_agree(&server)?;
    Ok(())
}

#[tokio::test]
async fn a_java_server_that_was_killed_leaves_us_every_write_it_acknowledged() -> Result<()> {
    for round in 0..3 {
        let mut server = peer::start_with(&settings(""))?;
        let servers = server.address().to_string();
        let mut ledger = Ledger::begin(&servers, round).await?;
        ledger.write_until_killed(&servers, 700 + 531 * round, || server.kill()).await?;
        server.restart_as("zkserver", zkserver::launch)?;
        ledger.check_znodes(&servers).await.with_context(|| format!("round {round}"))?;
        ensure_digests_agree(&server)?;
    }
    Ok(())
}

/// Killed between making a log file and writing its header, a Java server does not start again with that file
/// (ZOOKEEPER-2332).
#[tokio::test]
async fn a_log_that_java_did_not_come_to_write_keeps_neither_us_nor_java_from_starting() -> Result<()> {
    let mut server = peer::start_with(&settings(""))?;
    let servers = server.address().to_string();
    let client = Client::connect(&servers).await?;
    client.create("/kept", "by Java", CreateMode::Persistent).await?;
    let stat = client.exists("/kept").await?.context("it was created")?;
    server.kill()?;
    fs::write(server.dir().join(format!("data/version-2/log.{:x}", stat.czxid + 1)), "")?;

    server.restart_as("zkserver", zkserver::launch)?;
    let client = Client::connect(&servers).await?;
    ensure!(client.get("/kept").await?.data[..] == *b"by Java");
    client.set("/kept", "by ours", None).await?;
    server.stop()?;

    server.restart_as("java", peer::launch)?;
    let client = Client::connect(&servers).await?;
    ensure!(client.get("/kept").await?.data[..] == *b"by ours");
    ensure_digests_agree(&server)
}

#[tokio::test]
async fn import_copies_a_tree_and_refuses_what_it_must_not_touch() -> Result<()> {
    let mut java = peer::start_with(&settings(""))?;
    let mut load = Load::begin(&java.address().to_string()).await?;
    load.round().await?;
    let by_java = copy(&java).await?;
    let from = java.dir().join("data").display().to_string();
    java.kill()?;
    let untouched = listing(Path::new(&from))?;

    let target = tempfile::tempdir()?;
    let to = target.path().join("data");
    let to_text = to.display().to_string();
    zkserver_tool(&["import", &from, "--data-dir", &to_text])?;
    ensure!(listing(Path::new(&from))? == untouched, "import changed what it read");
    let settings = Settings { data: Some(to.clone()), ..Settings::default() };
    let ours = zkserver::start_with(&settings)?;
    ensure_equal(&by_java, &copy(&ours).await?)?;

    // A running server's directory, one that holds data, and one that is somebody else's.
    let refused = |arguments: &[&str], why: &str| -> Result<()> {
        let finished = run(Command::new(zkserver::binary("server", "zkserver")?).args(arguments), LIMIT)?;
        ensure!(finished.code != Some(0), "zkserver {arguments:?} went well");
        ensure!(finished.output.contains(why), "zkserver {arguments:?} says: {}", finished.output);
        Ok(())
    };
    refused(&["import", &from, "--data-dir", &to_text], "another server is running here")?;
    refused(&["export", "--data-dir", &to_text], "another server is running here")?;
    drop(ours);
    refused(&["import", &from, "--data-dir", &to_text], "holds data already")?;
    let foreign = tempfile::tempdir()?;
    fs::create_dir(foreign.path().join("member"))?;
    refused(&["import", &from, "--data-dir", &foreign.path().display().to_string()], "etcd")?;
    refused(
        &["import", &foreign.path().display().to_string(), "--data-dir", &to_text],
        "holds data already",
    )?;
    let empty = tempfile::tempdir()?;
    fs::create_dir(empty.path().join("version-2"))?;
    let fresh = tempfile::tempdir()?;
    let fresh_text = fresh.path().join("data").display().to_string();
    refused(
        &["import", &empty.path().display().to_string(), "--data-dir", &fresh_text],
        "nothing to import",
    )?;
    Ok(())
}

/// Names, lengths and times of all files below `dir`.
fn listing(dir: &Path) -> Result<BTreeMap<String, (u64, std::time::SystemTime)>> {
    let mut found = BTreeMap::new();
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if metadata.is_dir() {
                dirs.push(entry.path());
            } else {
                found.insert(entry.path().display().to_string(), (metadata.len(), metadata.modified()?));
            }
        }
    }
    Ok(found)
}

#[test]
fn a_directory_that_is_not_ours_is_refused_and_so_is_one_in_use() -> Result<()> {
    let refused = |data: &Path, why: &str| -> Result<()> {
        let config = tempfile::NamedTempFile::new()?;
        fs::write(config.path(), format!("dataDir={}\nclientPort=0\n", data.display()))?;
        let mut command = Command::new(zkserver::binary("server", "zkserver")?);
        let finished = run(command.arg(config.path()), LIMIT)?;
        ensure!(finished.code == Some(1), "started in {}", data.display());
        ensure!(finished.output.contains(why), "it says: {}", finished.output);
        Ok(())
    };
    let foreign = tempfile::tempdir()?;
    fs::write(foreign.path().join("PG_VERSION"), "15")?;
    refused(foreign.path(), "PostgreSQL")?;
    ensure!(!foreign.path().join("version-2").exists(), "it began to work there all the same");

    let server = zkserver::start()?;
    refused(&server.dir().join("data"), "another server is running here")
}
