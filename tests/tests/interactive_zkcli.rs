//! `zkcli` as somebody uses it who sits at a terminal.

use std::path::Path;

use anyhow::{Context, Result};
use client::{Client, CreateMode};
use pty_process::blocking::Command;
use tests::service::Service;
use tests::terminal::{Terminal, keys};
use tests::zkserver;

const ROWS: u16 = 40;
const COLUMNS: u16 = 120;

/// A shell whose user has `home`, at its first prompt.
fn shell(service: &Service, home: &Path) -> Result<Terminal> {
    let command = Command::new(zkserver::binary("client", "zkcli")?).env("HOME", home).args([
        "-server",
        &service.address().to_string(),
        "-waitforconnection",
    ]);
    let mut terminal = Terminal::start(command, ROWS, COLUMNS)?;
    terminal.await_text("state:SyncConnected")?;
    terminal.await_line(&line(service, 0, ""))?;
    Ok(terminal)
}

/// The prompt of command `number`, and what is `typed` behind it.
fn line(service: &Service, number: usize, typed: &str) -> String {
    format!("[zk: {}(CONNECTED) {number}] {typed}", service.address())
}

fn with_client<T>(service: &Service, act: impl AsyncFnOnce(Client) -> client::Result<T>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let address = service.address().to_string();
    Ok(runtime.block_on(async { act(Client::connect(&address).await?).await })?)
}

#[test]
fn commands_and_paths_are_completed() -> Result<()> {
    let (service, home) = (zkserver::start()?, tempfile::tempdir()?);
    with_client(&service, async |client| {
        client.create_all("/config/größe").await?;
        client.create_all("/config/other").await
    })?;
    let mut shell = shell(&service, home.path())?;

    shell.press(&format!("cre{}", keys::TAB))?;
    shell.await_line(&line(&service, 0, "create"))?;
    shell.press(keys::CTRL_U)?;
    shell.press("get /co\t")?;
    shell.await_line(&line(&service, 0, "get /config"))?;
    shell.press("/g\t")?;
    shell.await_line(&line(&service, 0, "get /config/größe"))?;
    shell.press(keys::CTRL_U)?;
    shell.press("ls /config/\t\t")?;
    shell.await_screen("both children", |lines| {
        let shown = lines.join("\n");
        shown.contains("/config/größe") && shown.contains("/config/other")
    })
}

#[test]
fn lines_are_remembered_edited_and_taken_back() -> Result<()> {
    let (service, home) = (zkserver::start()?, tempfile::tempdir()?);
    let mut first = shell(&service, home.path())?;
    first.enter("create /a \"one two\"")?;
    first.await_line(&line(&service, 1, ""))?;
    first.enter("get /a")?;
    first.await_text("\none two\n")?;
    first.await_line(&line(&service, 2, ""))?;

    // Up, up: the line before; its end is replaced.
    first.press(keys::UP)?;
    first.press(keys::UP)?;
    first.await_line(&line(&service, 2, "create /a \"one two\""))?;
    first.press(&keys::LEFT.repeat("\"one two\"".len()))?;
    first.press(&format!("{}b ", keys::BACKSPACE))?;
    first.enter("")?;
    first.await_line(&line(&service, 3, ""))?;

    // A number stands for its line, and Ctrl-C for "never mind".
    first.enter("redo 1")?;
    first.await_line(&line(&service, 4, ""))?;
    first.press("delete /a")?;
    first.await_line(&line(&service, 4, "delete /a"))?;
    first.press(keys::CTRL_C)?;
    first.await_line(&line(&service, 4, ""))?;
    first.enter("history")?;
    first.await_text("3 - get /a\n4 - history")?;
    first.enter("quit")?;
    assert_eq!(first.wait()?.code(), Some(0));

    let mut second = shell(&service, home.path())?;
    second.press(&keys::UP.repeat(2))?;
    second.await_line(&line(&service, 0, "history"))?;
    second.press(keys::CTRL_C)?;
    second.await_line(&line(&service, 0, ""))?;
    second.press(keys::CTRL_D)?;
    assert_eq!(second.wait()?.code(), Some(0));
    Ok(())
}

#[test]
fn an_event_comes_above_the_line_that_is_being_typed() -> Result<()> {
    let (service, home) = (zkserver::start()?, tempfile::tempdir()?);
    let mut shell = shell(&service, home.path())?;
    shell.enter("create /a 1")?;
    shell.await_line(&line(&service, 1, ""))?;
    shell.enter("get -w /a")?;
    shell.await_line(&line(&service, 2, ""))?;

    shell.press("set /a hal")?;
    shell.press(keys::LEFT)?;
    shell.await_line(&line(&service, 2, "set /a hal"))?;
    with_client(&service, async |client| client.set("/a", "2", None).await)?;

    shell.await_text("WatchedEvent state:SyncConnected type:NodeDataChanged path:/a")?;
    shell.await_line(&line(&service, 2, "set /a hal"))?;
    shell.press("l")?;
    shell.await_line(&line(&service, 2, "set /a hall"))?;
    shell.enter("")?;
    shell.await_line(&line(&service, 3, ""))?;
    let znode = with_client(&service, async |client| client.get("/a").await)?;
    assert_eq!(znode.data, "hall", "the cursor stood in front of the last l");
    Ok(())
}

#[test]
fn a_lost_server_is_shown_and_found_again() -> Result<()> {
    let (mut service, home) = (zkserver::start()?, tempfile::tempdir()?);
    let mut shell = shell(&service, home.path())?;
    shell.enter("create -e /mine x")?;
    shell.await_line(&line(&service, 1, ""))?;

    service.kill()?;
    shell.await_text("state:Disconnected")?;
    shell.enter("get /mine")?;
    shell.await_text("KeeperErrorCode = ConnectionLoss for /mine")?;
    let connecting = format!("[zk: {}(CONNECTING) 2]", service.address());
    shell.await_line(&connecting)?;
    // A completion that can't be had does not hold up the typing.
    shell.press("get /mi\t")?;
    shell.press("n")?;
    shell.await_line(&format!("{connecting} get /min"))?;

    shell.press(keys::CTRL_L)?;
    service.restart()?;
    shell.await_text("state:SyncConnected")?;
    shell.await_line(&format!("{connecting} get /min"))?;
    shell.enter("e")?;
    shell.await_text("\nx\n")?;
    shell.await_line(&line(&service, 3, ""))
}

#[test]
fn what_is_pasted_runs_line_by_line_in_any_width_and_script() -> Result<()> {
    let (service, home) = (zkserver::start()?, tempfile::tempdir()?);
    let mut shell = shell(&service, home.path())?;
    shell.press("create /p 'grün 漢字'\rget /p\rcreate /p/q\r")?;
    shell.await_text("\ngrün 漢字\n")?;
    shell.await_text("Created /p/q")?;
    shell.await_line(&line(&service, 3, ""))?;

    assert!(!shell.tells_pasting_from_typing(), "else a block would come as one line");

    shell.resize(ROWS, 50)?;
    let long = "x".repeat(80);
    shell.enter(&format!("create /{long}"))?;
    shell.await_screen("the next prompt", |lines| {
        lines.last().is_some_and(|last| last.contains("(CONNECTED) 4]"))
    })?;
    with_client(&service, async |client| client.delete(&format!("/{long}"), None).await)
        .context("what was typed over the edge of the window")
}

#[test]
fn sessions_end_and_begin_at_the_prompt() -> Result<()> {
    let (service, other, home) = (zkserver::start()?, zkserver::start()?, tempfile::tempdir()?);
    with_client(&other, async |client| client.create("/there", "", CreateMode::Persistent).await)?;
    let mut shell = shell(&service, home.path())?;
    shell.enter("create -e /mine")?;
    shell.await_line(&line(&service, 1, ""))?;
    shell.enter("close")?;
    shell.await_text("state:Closed")?;
    let closed = format!("[zk: {}(CLOSED) 2]", service.address());
    shell.await_line(&closed)?;
    shell.enter("ls /")?;
    shell.await_text("Not connected")?;
    assert!(with_client(&service, async |client| client.exists("/mine").await)?.is_none());

    shell.enter(&format!("connect {}", other.address()))?;
    shell.await_line(&line(&other, 4, ""))?;
    shell.enter("ls /")?;
    shell.await_text("[there, zookeeper]")?;
    shell.enter("nonsense")?;
    shell.await_text("Command not found: Command not found nonsense")?;
    // Between prompts the terminal takes Ctrl-D for itself.
    shell.await_line(&line(&other, 6, ""))?;
    shell.press(keys::CTRL_D)?;
    assert_ne!(shell.wait()?.code(), Some(0), "the last command failed");
    Ok(())
}
