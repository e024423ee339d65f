//! The admin server's `snapshot` is a Java snapshot: a Java server starts from what it streams, with an equal tree.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Acl, Client, CreateMode, Stat};
use server::config::Config;
use server::runtime::Server;
use tests::peer::{JARS, class_path, installed, java};
use tests::service::Service;

/// No page takes a tenth of it, on an idle machine.
const LIMIT: Duration = Duration::from_secs(60);

/// A snapshot's zxid and content.
static SNAPSHOT: OnceLock<(String, Vec<u8>)> = OnceLock::new();

/// Path, data, ACL and stat of every znode below the root's children.
type Content = BTreeMap<String, (String, Vec<Acl>, Stat)>;

#[test]
fn a_java_server_starts_from_what_snapshot_streams() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let ours = start_ours(dir.path())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (client, expected) = runtime.block_on(async {
        let client = fill(ours.local_addr()).await?;
        let content = content(&client).await?;
        anyhow::Ok((client, content))
    })?;
    ensure!(expected.len() == 12, "{expected:#?}");
    let admin = ours.http().admin.context("the admin server runs")?;
    SNAPSHOT.get_or_init(|| download(admin).expect("a snapshot"));

    let java = Service::start("java", start_java)?;
    let found = runtime.block_on(async {
        let client = Client::builder().connect_timeout(LIMIT).connect(&java.address().to_string()).await?;
        content(&client).await
    })?;
    assert_eq!(found, expected);
    drop(client);
    ours.stop();
    Ok(())
}

fn start_ours(dir: &Path) -> Result<Server> {
    let text = format!(
        "tickTime=2000\ndataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\nextendedTypesEnabled=true\n\
         admin.serverAddress=127.0.0.1\nadmin.serverPort=0\n",
        dir.display()
    );
    Ok(Server::start(Config::parse(&text, Path::new("zoo.cfg"), &[])?)?)
}

/// A Java server whose directory holds the snapshot and nothing else.
fn start_java(config: &Path) -> Result<Command> {
    installed(&Path::new(JARS).join("zookeeper.jar"))?;
    let dir = config.parent().context("a file is in a directory")?.join("data/version-2");
    std::fs::create_dir_all(&dir)?;
    let (zxid, content) = SNAPSHOT.get().context("it was downloaded")?;
    std::fs::write(dir.join(format!("snapshot.{zxid}")), content)?;
    let mut command = java();
    command
        .arg("-cp")
        .arg(class_path(&["zookeeper.jar", "slf4j-nop.jar"]))
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(config);
    Ok(command)
}

/// Something of everything. The client keeps its session, and with it the ephemeral znode.
async fn fill(at: SocketAddr) -> Result<Client> {
    let client = Client::builder().connect_timeout(LIMIT).connect(&at.to_string()).await?;
    client.create("/app", "data", CreateMode::Persistent).await?;
    client.create("/app/empty", "", CreateMode::Persistent).await?;
    client.create("/app/changed", "old", CreateMode::Persistent).await?;
    client.set("/app/changed", "new", None).await?;
    client.create("/app/ephemeral", "", CreateMode::Ephemeral).await?;
    client.create("/app/container", "", CreateMode::Container).await?;
    client.create("/app/container/child", "", CreateMode::Persistent).await?;
    for _ in 0..5 {
        client.create("/app/n-", "x", CreateMode::PersistentSequential).await?;
    }
    client
        .set_acl("/app/empty", vec![Acl::new(1, "ip", "127.0.0.1"), Acl::new(31, "world", "anyone")], None)
        .await?;
    client.create("/app/gone", "", CreateMode::Persistent).await?;
    client.delete("/app/gone", None).await?;
    client.create("/app/\u{e9}t\u{e9}", "\u{e9}", CreateMode::Persistent).await?;
    Ok(client)
}

async fn content(client: &Client) -> Result<Content> {
    let mut content = Content::new();
    let mut waiting = vec!["/app".to_owned()];
    while let Some(path) = waiting.pop() {
        waiting.extend(client.children(&path).await?.iter().map(|name| format!("{path}/{name}")));
        let znode = client.get(&path).await?;
        let (acl, _) = client.acl(&path).await?;
        content.insert(path, (format!("{:?}", znode.data), acl, znode.stat));
    }
    Ok(content)
}

fn download(at: SocketAddr) -> Result<(String, Vec<u8>)> {
    let mut stream = TcpStream::connect(at)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let request =
        "GET /commands/snapshot?streaming=true HTTP/1.0\r\nHost: x\r\nAuthorization: digest a:b\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let head_len = answer.windows(4).position(|window| window == b"\r\n\r\n").context("a head")?;
    let head = String::from_utf8(answer[..head_len].to_vec())?;
    ensure!(head.contains(" 200 "), "{head}");
    let header = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    let zxid = header("last_zxid: 0x").context("a zxid")?;
    let body = answer.split_off(head_len + 4);
    ensure!(header("snapshot_size:") == Some(&body.len().to_string()), "{head}");
    Ok((zxid.to_owned(), body))
}
