//! `zkServer.sh` takes a server through its day, and says what its users and their scripts expect it to say.

use std::env;
use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use tests::zkserver::binary;

/// The script with a configuration directory of its own; on its way out it stops what it may have started.
struct Script {
    dir: tempfile::TempDir,
    path: std::ffi::OsString,
}

impl Script {
    fn new() -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        let data = dir.path().join("data");
        let config = format!(
            "dataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\nadmin.enableServer=false\n",
            data.display()
        );
        fs::write(dir.path().join("zoo.cfg"), config)?;
        let bin = binary("server", "zkserver")?;
        let bin = bin.parent().context("a binary is in a directory")?;
        let old = env::var_os("PATH").unwrap_or_default();
        let path = env::join_paths(std::iter::once(bin.to_owned()).chain(env::split_paths(&old)))?;
        Ok(Self { dir, path })
    }

    /// Exit code and standard output.
    fn run(&self, command: &str) -> Result<(Option<i32>, String)> {
        let output = Command::new(script())
            .arg(command)
            .env("PATH", &self.path)
            .env("ZOOCFGDIR", self.dir.path())
            .env("ZOO_LOG_DIR", self.dir.path().join("logs"))
            .output()?;
        Ok((output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned()))
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        // The test has failed already if this does.
        let _ = self.run("stop");
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/zkServer.sh")
}

#[test]
fn zk_server_sh_starts_asks_and_stops_a_server() -> Result<()> {
    let script = Script::new()?;

    let (code, said) = script.run("status")?;
    assert_eq!(code, Some(1));
    assert!(said.ends_with("Error contacting service. It is probably not running.\n"), "{said}");

    assert_eq!(script.run("start")?, (Some(0), "Starting zookeeper ... STARTED\n".to_owned()));
    let (code, said) = script.run("start")?;
    assert_eq!(code, Some(1));
    assert!(said.starts_with("Starting zookeeper ... already running as process "), "{said}");

    let (code, said) = script.run("status")?;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("Client port found: "), "{said}");
    assert!(said.ends_with(". Client address: 127.0.0.1. Client SSL: false.\nMode: standalone\n"), "{said}");

    let (code, said) = script.run("restart")?;
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said, "Stopping zookeeper ... STOPPED\nStarting zookeeper ... STARTED\n");

    assert_eq!(script.run("stop")?, (Some(0), "Stopping zookeeper ... STOPPED\n".to_owned()));
    let (code, said) = script.run("stop")?;
    assert_eq!(code, Some(0));
    assert!(said.starts_with("Stopping zookeeper ... no zookeeper to stop (could not find file "), "{said}");
    Ok(())
}

#[test]
fn zk_server_sh_says_what_is_wrong_with_a_configuration() -> Result<()> {
    let script = Script::new()?;
    fs::write(
        script.dir.path().join("zoo.cfg"),
        format!("dataDir={}\ntickTime=x\n", script.dir.path().display()),
    )?;
    assert_eq!(script.run("start")?, (Some(1), "Starting zookeeper ... FAILED TO START\n".to_owned()));
    Ok(())
}
