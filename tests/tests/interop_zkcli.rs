//! The shell: Java's `zkCli.sh` says the same with our server as with the Java server, and our `zkcli` the same as `zkCli.sh`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use tests::process;
use tests::service::{Service, interop_dir};
use tests::shell::{Dialect, Shell};
use tests::transcript::{Section, Transcript, masked_after};
use tests::{peer, shell, zkserver};

const ZKCLI: Dialect = Dialect {
    marker: "printwatches",
    answers: &["printwatches is on", "printwatches is off"],
    events: &["WATCHER::\n", "WatchedEvent "],
    quit: "quit",
};

#[test]
fn the_java_shell_finds_our_server_to_be_a_java_server() -> Result<()> {
    let java = peer::start()?;
    let ours = zkserver::start()?;

    assert_same(&session(zkcli_sh, &java)?, &session(zkcli_sh, &ours)?);
    assert_same(&one_shots(zkcli_sh, &java)?, &one_shots(zkcli_sh, &ours)?);
    Ok(())
}

#[test]
fn our_shell_prints_what_the_java_shell_prints() -> Result<()> {
    let for_java_shell = peer::start()?;
    let for_ours = zkserver::start()?;

    let theirs = session(zkcli_sh, &for_java_shell)?.masked(as_in_3_9);
    assert_same(&theirs, &session(zkcli, &for_ours)?);
    let theirs = one_shots(zkcli_sh, &for_java_shell)?.masked(as_in_3_9);
    assert_same(&theirs, &one_shots(zkcli, &for_ours)?);
    Ok(())
}

#[test]
fn of_a_service_that_is_not_there_both_shells_say_the_same() -> Result<()> {
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
    let said = |shell: fn() -> Result<Command>, options: &[&str]| -> Result<_> {
        let mut command = shell()?;
        command.args(["-server", &nobody.to_string()]).args(options).args(["get", "/a"]);
        let finished = process::run(&mut command, Duration::from_secs(60))?;
        let lines = finished.output.lines().filter(|line| !line.starts_with("SLF4J:"));
        Ok((finished.code, lines.map(str::to_owned).collect::<Vec<_>>()))
    };
    assert_eq!(said(zkcli, &[])?, said(zkcli_sh, &[])?);

    // Here the Java shell wraps the same words into the trace of an exception.
    let patient = ["-waitforconnection", "-timeout", "1500"];
    let (theirs, ours) = (said(zkcli_sh, &patient)?, said(zkcli, &patient)?);
    assert_eq!(ours.0, theirs.0);
    let why = ours.1.last().context("it says why")?;
    assert!(theirs.1.iter().any(|line| line.ends_with(why)), "{ours:?} and {theirs:?}");
    Ok(())
}

#[test]
fn a_java_clients_configuration_is_followed_or_refused_but_not_ignored() -> Result<()> {
    let service = zkserver::start()?;
    let file = tempfile::NamedTempFile::new()?;
    let get = |properties: &str| -> Result<_> {
        std::fs::write(file.path(), properties)?;
        let mut command = zkcli()?;
        command.args(["-server", &service.address().to_string(), "-client-configuration"]);
        process::run(command.arg(file.path()).args(["ls", "/"]), Duration::from_secs(60))
    };
    let followed = get("zookeeper.request.timeout=5000\nzookeeper.ssl.protocol=TLSv1.2\n")?;
    assert!(followed.code == Some(0) && followed.output.ends_with("[zookeeper]\n"), "{followed:?}");
    assert!(!followed.output.contains("no meaning"), "{followed:?}");
    let warned = get("zookeeper.client.colour=blue\n")?;
    assert_eq!(warned.code, Some(0));
    assert!(warned.output.contains("zookeeper.client.colour: has no meaning for this shell"), "{warned:?}");
    let refused = get("zookeeper.client.secure=true\n")?;
    assert_ne!(refused.code, Some(0));
    assert!(refused.output.contains("cannot connect over TLS yet"), "{refused:?}");
    Ok(())
}

fn assert_same(expected: &Transcript, found: &Transcript) {
    if let Some(difference) = expected.difference(found) {
        panic!("the transcripts differ:\n{difference}");
    }
}

/// Plays the session into one shell.
fn session(shell: fn() -> Result<Command>, service: &Service) -> Result<Transcript> {
    let script = std::fs::read_to_string(script("session.txt"))?;
    let (shell, greeting) = Shell::start(ZKCLI, shell()?.args(["-server", &service.address().to_string()]))?;
    let mut transcript = shell.play(&script)?;
    transcript.sections.insert(0, Section { command: "(greeting)".to_owned(), output: greeting });
    Ok(masked(transcript, service))
}

/// Calls a shell once for each line.
fn one_shots(shell: fn() -> Result<Command>, service: &Service) -> Result<Transcript> {
    let script = std::fs::read_to_string(script("one_shot.txt"))?;
    let mut transcript = Transcript::default();
    for line in script.lines().filter(|line| !line.starts_with('#')) {
        let mut command = shell()?;
        command.args(["-server", &service.address().to_string()]).args(line.split(' '));
        let finished = process::run(&mut command, Duration::from_secs(60))?;
        let mut output = without_events(&finished.output);
        output.push_str(&format!("(exit status {:?})\n", finished.code));
        transcript.sections.push(Section { command: line.to_owned(), output });
    }
    Ok(masked(transcript, service))
}

/// A shell that runs one command prints its connection's events before, beneath or after the answer.
fn without_events(output: &str) -> String {
    let mut output = output.replace("\nWATCHER::\n", "");
    while let Some(at) = output.find("\nWatchedEvent ") {
        let end = output[at + 1..].find('\n').map_or(output.len(), |length| at + length + 2);
        output.drain(at..end);
    }
    output
}

fn zkcli_sh() -> Result<Command> {
    peer::installed(peer::ZKCLI_SH.as_ref())?;
    let mut command = Command::new(peer::ZKCLI_SH);
    command.env("CLIENT_JVMFLAGS", peer::QUICK_JVM.join(" ")).envs(peer::UTF8_LOCALE);
    Ok(command)
}

fn zkcli() -> Result<Command> {
    Ok(Command::new(zkserver::binary("client", "zkcli")?))
}

fn script(name: &str) -> PathBuf {
    interop_dir("zkcli_transcript").join(name)
}

/// Masks what differs between any two runs: the address, times, zxids and ids of sessions.
fn masked(mut transcript: Transcript, service: &Service) -> Transcript {
    let address = service.address().to_string();
    // The Java server keeps a connection's identities in a set, and tells them in its order.
    for section in transcript.sections.iter_mut().filter(|section| section.command == "whoami") {
        let mut lines: Vec<_> = section.output.lines().collect();
        lines.sort_unstable();
        section.output = lines.join("\n");
    }
    transcript.masked(|line| {
        // What the JVM's logging says about itself, and an event of a session's end, which comes before the process's or not.
        if line.starts_with("SLF4J:") || line.contains("state:Closed") {
            return None;
        }
        let line = shell::without_zxid(line).replace(&address, "<server>");
        for time in ["ctime = ", "mtime = "] {
            if line.starts_with(time) {
                return Some(format!("{time}#"));
            }
        }
        let labels = ["cZxid = ", "mZxid = ", "pZxid = ", "ephemeralOwner = "];
        Some(labels.iter().find_map(|label| masked_after(&line, label)).unwrap_or(line))
    })
}

/// Where the shell of 3.9 prints something else than that of 3.8, which Debian has: `get` and `set` learned options there,
/// and explain them.
fn as_in_3_9(line: &str) -> Option<String> {
    let get = "get [-s] [-w] [-b] [-x] path";
    let set = "set path data [-s] [-v version] [-b]";
    Some(match line {
        "get [-s] [-w] path" => format!(
            "{get}\n \
             -b   Output data in base64 format\n \
             -s   Print znode stats additionally\n \
             -w   Watch for changes on the znode\n \
             -x   Output data in hexdump format\n"
        ),
        "set [-s] [-v version] path data" => format!(
            "{set}\n \
             -b         Supply data in base64 format\n \
             -s         Print znode stats additionally\n \
             -v <arg>   Set with an expected version\n"
        ),
        "\tget [-s] [-w] path" => format!("\t{get}"),
        "\tset [-s] [-v version] path data" => format!("\t{set}"),
        other => other.to_owned(),
    })
}
