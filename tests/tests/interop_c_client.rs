//! The C client: its shell `cli_mt` says the same with our server as with the Java server.

use std::process::Command;

use anyhow::Result;
use tests::service::{Service, interop_dir};
use tests::shell::{Dialect, Shell};
use tests::transcript::{Transcript, masked_after};
use tests::{peer, zkserver};

/// Its answers and its events come from one thread: nothing needs to be taken apart.
const CLI_MT: Dialect =
    Dialect { marker: "sync /marker", answers: &["\tname = /marker"], events: &[], quit: "quit" };

#[test]
fn the_c_client_finds_our_server_to_be_a_java_server() -> Result<()> {
    let java = session(&peer::start()?)?;
    let ours = session(&zkserver::start()?)?;

    if let Some(difference) = java.difference(&ours) {
        panic!("the transcripts differ:\n{difference}");
    }
    Ok(())
}

fn session(service: &Service) -> Result<Transcript> {
    peer::installed(peer::CLI_MT.as_ref())?;
    let script = std::fs::read_to_string(interop_dir("c_client").join("session.txt"))?;
    let (shell, _) = Shell::start(CLI_MT, Command::new(peer::CLI_MT).arg(service.address().to_string()))?;
    let mut transcript = shell.play(&script)?;
    // Children come in no order.
    let is_list = |command: &str| command.trim_start_matches('a').starts_with("ls");
    for section in transcript.sections.iter_mut().filter(|section| is_list(&section.command)) {
        let mut lines: Vec<_> = section.output.lines().collect();
        lines.sort_unstable();
        section.output = lines.join("\n");
    }
    Ok(transcript.masked(mask))
}

/// Masks times, zxids and ids of sessions, and leaves out what the client logs.
fn mask(line: &str) -> Option<String> {
    let logged = ["ZOO_INFO", "ZOO_WARN", "ZOO_ERROR", "ZOO_DEBUG"].iter().any(|level| line.contains(level));
    if logged || line.starts_with("time = ") || line.contains("session id") {
        return None;
    }
    if line.starts_with("\tctime = ") {
        return Some("\tctime".to_owned());
    }
    if line.starts_with("\tmtime=") {
        return Some("\tmtime".to_owned());
    }
    let labels = ["czxid=", "mzxid=", "ephemeralOwner = "];
    Some(labels.iter().find_map(|label| masked_after(line, label)).unwrap_or_else(|| line.to_owned()))
}
