//! What operators are told who ask for other members: our ensembles say what Java's say, down to the error, whether they
//! may ask or not.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::{Acl, Client, ErrorCode, Reconfig};
use tests::ensemble::{Ensemble, Id, Kind, Plan};
use tests::process;
use tests::service::interop_dir;
use tests::{peer, zkserver};

const LIMIT: Duration = Duration::from_secs(120);

/// What kazoo is told by server `id`, which it asks for one change after the other.
fn answers_of(ensemble: &Ensemble, id: Id) -> Result<Vec<String>> {
    let mut python = Command::new(peer::kazoo_python()?);
    python.arg(interop_dir("kazoo").join("reconfig.py")).arg(ensemble.address(id).to_string());
    let finished = process::run(&mut python, LIMIT)?;
    ensure!(finished.code == Some(0), "kazoo: {}\n{}", finished.output, ensemble.logs());
    Ok(finished.output.lines().map(str::to_owned).collect())
}

fn ensure_alike(javas: &[String], ours: &[String]) -> Result<()> {
    let pairs = javas.iter().zip(ours).filter(|(java, our)| java != our);
    let different: Vec<_> = pairs.map(|(java, our)| format!("Java {java}\nours {our}\n")).collect();
    ensure!(different.is_empty(), "{}", different.concat());
    ensure!(javas.len() == ours.len(), "Java answers {} times, ours {}", javas.len(), ours.len());
    Ok(())
}

/// Asks the leader, then a follower.
fn answers_of_three(kind: Kind) -> Result<Vec<String>> {
    let ensemble = Plan::of(&[kind; 3]).dynamic().start()?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let follower = ensemble.ids().into_iter().find(|id| *id != leader).context("nobody follows")?;
    let mut answers = answers_of(&ensemble, leader)?;
    answers.extend(answers_of(&ensemble, follower)?);
    Ok(answers)
}

#[test]
fn our_servers_answer_reconfigurations_as_javas_do() -> Result<()> {
    let javas = answers_of_three(Kind::Java)?;
    println!("{}", javas.join("\n"));
    for answer in ["NoAuthError", "BadVersionError", "NewConfigNoQuorumError", "version -1"] {
        ensure!(javas.iter().any(|line| line.contains(answer)), "nobody was answered {answer}");
    }
    ensure_alike(&javas, &answers_of_three(Kind::Ours)?)
}

#[test]
fn reconfigurations_are_refused_where_they_are_not_enabled() -> Result<()> {
    let cases = [
        ("", ErrorCode::ReconfigDisabled),
        ("skipACL=yes\n", ErrorCode::ReconfigDisabled),
        ("reconfigEnabled=true\n", ErrorCode::NoAuth),
    ];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for ((config, expected), kind) in
        cases.into_iter().flat_map(|case| [(case, Kind::Java), (case, Kind::Ours)])
    {
        let ensemble = Plan::of(&[kind; 3]).config(config).start()?;
        let refused = runtime.block_on(async {
            let client = Client::connect(&ensemble.servers()).await?;
            let change = Reconfig::Incremental { joining: Vec::new(), leaving: vec![9] };
            let answer = client.reconfigure(&change, None).await;
            client.close().await?;
            anyhow::Ok(answer.err().and_then(|error| error.code()))
        })?;
        ensure!(refused == Some(expected), "{kind} with {config:?}: {refused:?}");
    }
    Ok(())
}

#[test]
fn whoever_may_write_the_configuration_may_change_it() -> Result<()> {
    let ensemble = Plan::of(&[Kind::Ours; 3]).dynamic().start()?;
    let run = |arguments: &[&str]| {
        let mut zkcli = Command::new(zkserver::binary("client", "zkcli")?);
        zkcli.args(["-server", &ensemble.servers()]).args(arguments);
        process::run(&mut zkcli, LIMIT)
    };
    let refused = run(&["reconfig", "-remove", "9"])?;
    ensure!(refused.code != Some(0) && refused.output.contains("Insufficient permission"), "{refused:?}");

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let chief = Client::builder().credentials("digest", "super:secret");
        let chief = chief.connect(&ensemble.servers()).await?;
        chief.set_acl("/zookeeper/config", Acl::open_unsafe(), None).await?;
        chief.close().await
    })?;
    let allowed = run(&["reconfig", "-remove", "9"])?;
    ensure!(allowed.output.contains("Committed new configuration"), "{allowed:?}");
    Ok(())
}

/// What a shell says of the members and of failures, without what only shows how it connects.
fn said_by(mut shell: Command, ensemble: &Ensemble, arguments: &[&str]) -> Result<Vec<String>> {
    shell.args(["-server", &ensemble.address(2).to_string()]).args(arguments);
    let said = process::run(&mut shell, LIMIT)?.output;
    let shows_clients = arguments == ["config", "-c"];
    let is_meant = |line: &&str| {
        ["server.", "Committed", "No quorum", "Arguments", "version No"]
            .iter()
            .any(|beginning| line.starts_with(beginning))
            || (line.starts_with("version=") && arguments[0] == "config")
            || (shows_clients && line.contains(" 127.") && !line.starts_with("Connecting"))
    };
    // Debian's shell has a spelling mistake less than 3.9.5's, which ours repeats.
    let spelled = |line: &str| line.replace("commmitted", "committed");
    let mut lines: Vec<_> = said.lines().filter(is_meant).map(spelled).collect();
    if shows_clients {
        // Java's order is that of a hash table.
        let parts = lines.iter().flat_map(|line| line.split([' ', ',']));
        lines = parts.map(str::to_owned).collect();
        lines.sort();
    }
    ensure!(!lines.is_empty(), "{arguments:?}: {said}");
    Ok(lines)
}

#[test]
fn both_shells_show_and_change_the_members_of_our_ensemble() -> Result<()> {
    let ensemble = Plan::of(&[Kind::Ours; 3]).dynamic().config("skipACL=yes\n").start()?;
    let java = || {
        let mut command = Command::new(peer::ZKCLI_SH);
        command.env("CLIENT_JVMFLAGS", "-Xmx128m").envs(peer::UTF8_LOCALE);
        command
    };
    let ours = || anyhow::Ok(Command::new(zkserver::binary("client", "zkcli")?));

    let members = said_by(ours()?, &ensemble, &["config"])?;
    let (file, listed) = (ensemble.dir().join("members"), members[..3].join(","));
    std::fs::write(&file, members[..3].join("\n"))?;
    let file = file.to_str().context("a path in UTF-8")?;
    let nobody =
        "server.7=127.0.0.1:1:2;3,server.8=127.0.0.1:1:2;3,server.9=127.0.0.1:1:2;3,server.6=127.0.0.1:1:2;3";
    let commands: [&[&str]; 8] = [
        &["config"],
        &["config", "-c"],
        &["reconfig", "-file", file],
        &["reconfig", "-members", &listed],
        &["reconfig", "-add", nobody],
        &["reconfig", "-remove", "1,2,3"],
        &["reconfig", "-v", "7", "-remove", "9"],
        &["reconfig", "-add", "server.9=127.0.0.1:1:2:observer;3"],
    ];
    for arguments in commands {
        let (java, our) = (said_by(java(), &ensemble, arguments)?, said_by(ours()?, &ensemble, arguments)?);
        ensure!(java == our, "{arguments:?}: Java's says {java:#?}, ours {our:#?}");
    }
    Ok(())
}
