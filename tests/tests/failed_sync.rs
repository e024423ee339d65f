//! A disk that fails to sync, under a real server: it stops at once, and what it acknowledged until then is there when
//! it starts again on a disk that works.
//!
//! The failure comes from a library that is loaded in front of the system's, and compiled here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::crash::Ledger;
use tests::process::run;
use tests::service::{Settings, free_address};
use tests::zkserver;

const LIMIT: Duration = Duration::from_secs(60);
const ROUNDS: usize = 4;

/// `fdatasync` of a log file fails while the file `$FAIL_SYNC` exists.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int fdatasync(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t len = readlink(link, path, sizeof path - 1);
    path[len < 0 ? 0 : len] = 0;
    const char *flag = getenv("FAIL_SYNC");
    if (flag && strstr(path, "/version-2/log.") && access(flag, F_OK) == 0) {
        errno = EIO;
        return -1;
    }
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    return real(fd);
}
"#;

fn compile_shim(dir: &Path) -> Result<PathBuf> {
    let (source, library) = (dir.join("shim.c"), dir.join("shim.so"));
    fs::write(&source, SHIM)?;
    let compiled = run(
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).arg("-ldl"),
        LIMIT,
    )?;
    ensure!(compiled.code == Some(0), "cc: {}", compiled.output);
    Ok(library)
}

#[tokio::test]
async fn a_failed_sync_stops_the_server_and_loses_nothing_that_was_acknowledged() -> Result<()> {
    try_with(Settings::default()).await
}

/// Its log is synced while it does other things.
#[tokio::test]
async fn a_failed_sync_stops_a_member_of_an_ensemble_likewise() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let data = dir.path().join("data");
    fs::create_dir(&data)?;
    fs::write(data.join("myid"), "1")?;
    let ports = [free_address()?, free_address()?].map(|address| address.port());
    let config = format!(
        "standaloneEnabled=false\ninitLimit=10\nsyncLimit=5\nserver.1=127.0.0.1:{}:{}\n",
        ports[0], ports[1]
    );
    try_with(Settings { data: Some(data), config, ..Settings::default() }).await
}

async fn try_with(settings: Settings) -> Result<()> {
    let dir = tempfile::tempdir()?;
    let flag = dir.path().join("fail");
    let shim = compile_shim(dir.path())?;
    let env = vec![
        ("LD_PRELOAD".to_owned(), shim.display().to_string()),
        ("FAIL_SYNC".to_owned(), flag.display().to_string()),
    ];
    let mut server = zkserver::start_with(&Settings { env, ..settings })?;
    let servers = server.address().to_string();
    let mut ledger = Ledger::begin(&servers, 0).await?;

    for round in 0..ROUNDS {
        let fail = || Ok(fs::write(&flag, "")?);
        ledger.write_until_killed(&servers, 500, fail).await?;
        let status = server.wait(LIMIT).context("the server goes on after a failed sync")?;
        ensure!(status.code() == Some(1), "ended with {status}");
        let log = server.log();
        ensure!(log.contains("the log cannot be written; stopping at once"), "it does not say why:\n{log}");

        fs::remove_file(&flag)?;
        server.restart().with_context(|| format!("restart after round {round}"))?;
        ledger.check_znodes(&servers).await.with_context(|| format!("after round {round}"))?;
    }
    Ok(())
}
