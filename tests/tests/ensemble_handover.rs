//! Leadership is handed over under load, as before a restart: no session is lost, no write, and hardly any time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tests::chaos::{Load, Settings};
use tests::ensemble::{Ensemble, Id, Kind, Plan};

const ADMIN_PORT: u16 = 22080;
/// Times the leader is told to go.
const ROUNDS: usize = 5;

#[test]
fn leadership_goes_from_one_of_ours_to_the_other() -> Result<()> {
    let ensemble = with_admin_servers("OOO").start()?;
    let load = start_load(&ensemble)?;
    for _ in 0..ROUNDS {
        let old = ensemble.wait_for_leader_other_than(None)?;
        hand_over(&ensemble, &load, old)?;
    }
    finish(&ensemble, load)
}

#[test]
fn leadership_goes_to_a_java_server() -> Result<()> {
    let ensemble = with_admin_servers("JJO").start()?;
    let load = start_load(&ensemble)?;
    let ours = 3;
    ensemble.wait("ours to lead", || ensemble.leader() == Some(ours))?;
    hand_over(&ensemble, &load, ours)?;
    finish(&ensemble, load)
}

#[test]
fn a_follower_has_no_leadership_to_hand_over() -> Result<()> {
    let ensemble = with_admin_servers("OOO").start()?;
    let leader = ensemble.wait_for_leader_other_than(None)?;
    let follower = ensemble.ids().into_iter().find(|id| *id != leader).context("there are three")?;
    let answer = post_handover(&ensemble, follower)?;
    ensure!(answer.contains("this server does not lead"), "{answer}");
    ensure!(ensemble.leader() == Some(leader), "{:?} leads", ensemble.leader());
    Ok(())
}

fn with_admin_servers(composition: &str) -> Plan {
    let config =
        format!("admin.enableServer=true\nadmin.serverAddress={{host}}\nadmin.serverPort={ADMIN_PORT}\n");
    Plan::of(&Kind::of_letters(composition)).config(&config)
}

fn start_load(ensemble: &Ensemble) -> Result<Load> {
    let settings = Settings { session_timeout: Duration::from_secs(30), ..Settings::default() };
    Load::start(ensemble, settings)
}

fn hand_over(ensemble: &Ensemble, load: &Load, old: Id) -> Result<()> {
    load.progress(100, "before the handover")?;
    let _ = load.longest_gap();
    let answer = post_handover(ensemble, old)?;
    let new = ensemble.wait_for_leader_other_than(Some(old))?;
    ensure!(answer.contains(&format!("\"leader_id\" : {new},")), "{answer}");
    load.progress(100, "after the handover")?;
    println!(
        "server {old} ({}) handed over to server {new} ({}): {:?} without an acknowledged write",
        ensemble.place(old).kind(),
        ensemble.place(new).kind(),
        load.longest_gap(),
    );
    ensemble.wait_until_all_serve()
}

/// The whole answer of server `id`.
fn post_handover(ensemble: &Ensemble, id: Id) -> Result<String> {
    let admin = SocketAddr::new(ensemble.address(id).ip(), ADMIN_PORT);
    let mut stream = TcpStream::connect(admin)?;
    stream.set_read_timeout(Some(tests::ensemble::PATIENCE))?;
    stream
        .write_all(b"POST /commands/handover HTTP/1.0\r\nAuthorization: ip\r\nContent-Length: 0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn finish(ensemble: &Ensemble, load: Load) -> Result<()> {
    let outcome = load.stop()?;
    println!("{}", outcome.summary());
    ensure!(outcome.expired() == 0, "{} sessions are lost", outcome.expired());
    outcome.check(ensemble)
}
