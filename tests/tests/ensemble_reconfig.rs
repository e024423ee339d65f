//! The ensemble changes under load: servers join, leave, move and change their roles, while clients go on. Both shells ask
//! for it, and both kinds of servers lead and follow: nothing acknowledged is lost, and no session.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use client::Client;
use tests::chaos::{Load, Settings};
use tests::ensemble::{
    CLIENT_PORT, ELECTION_PORT, Ensemble, Id, Kind, Mode, PATIENCE, Plan, QUORUM_PORT, Role,
};
use tests::{peer, process, zkserver};

/// Whoever asks may do so: what is tested is not the ACL.
const CONFIG: &str = "skipACL=yes\n";

/// How far the ports of a server that moves are from those it had.
const MOVE: u16 = 11;

#[test]
fn our_servers_become_five_and_one_again_under_load() -> Result<()> {
    grow_change_and_shrink("OOOOO")
}

#[test]
fn a_java_leader_takes_ours_in_and_lets_them_go() -> Result<()> {
    grow_change_and_shrink("JOOJO")
}

#[test]
fn our_leader_takes_java_servers_in_and_lets_them_go() -> Result<()> {
    grow_change_and_shrink("OJJOJ")
}

/// What a server's line in the configuration says.
#[derive(Debug, Clone, Copy)]
struct Seat {
    id: Id,
    role: Role,
    /// Added to the ports for servers, and to the one for clients.
    moved: u16,
    client_moved: u16,
}

impl Seat {
    fn of(id: Id) -> Self {
        Self { id, role: Role::Participant, moved: 0, client_moved: 0 }
    }

    fn line(self, ensemble: &Ensemble) -> String {
        let Self { id, role, moved, client_moved } = self;
        let host = ensemble.address(id).ip();
        let (quorum, election) = (QUORUM_PORT + moved, ELECTION_PORT + moved);
        format!("server.{id}={host}:{quorum}:{election}:{role};{host}:{}", CLIENT_PORT + client_moved)
    }
}

/// An ensemble, clients at work on it, and operators.
struct Scene {
    ensemble: Ensemble,
    load: Load,
    asked: usize,
}

impl Scene {
    /// Has a shell, the one or the other, reconfigure the ensemble by way of server `id`.
    fn reconfigure(&mut self, id: Id, arguments: &[&str]) -> Result<()> {
        self.asked += 1;
        let server = self.ensemble.address(id).to_string();
        let mut command = if self.asked.is_multiple_of(2) {
            let mut command = Command::new(peer::ZKCLI_SH);
            command.env("CLIENT_JVMFLAGS", "-Xmx128m").envs(peer::UTF8_LOCALE);
            command
        } else {
            Command::new(zkserver::binary("client", "zkcli")?)
        };
        command.args(["-server", &server, "reconfig"]).args(arguments);
        let finished = process::run(&mut command, PATIENCE)?;
        let said = finished.output;
        // A Java server that changes its own part may go before it has answered. Whoever asked it looks at what came of it.
        let may_be_lost = self.ensemble.place(id).kind() == Kind::Java && said.contains("ConnectionLoss");
        ensure!(
            may_be_lost || said.contains("Committed new configuration"),
            "reconfig {arguments:?} said {said}\n{}",
            self.ensemble.logs()
        );
        self.load.progress(100, &format!("after {arguments:?}"))
    }

    fn add(&mut self, by: Id, seats: &[Seat]) -> Result<()> {
        let lines: Vec<_> = seats.iter().map(|seat| seat.line(&self.ensemble)).collect();
        self.reconfigure(by, &["-add", &lines.join(",")])
    }

    fn remove(&mut self, by: Id, ids: &[Id]) -> Result<()> {
        let ids: Vec<_> = ids.iter().map(Id::to_string).collect();
        self.reconfigure(by, &["-remove", &ids.join(",")])
    }

    fn start(&mut self, ids: &[Id]) -> Result<()> {
        for id in ids {
            self.ensemble.start(*id)?;
        }
        ids.iter().try_for_each(|id| self.ensemble.wait_until_serving(*id))
    }

    /// Waits until every one of `ids` says that these, and no others, belong to the ensemble.
    fn wait_for_members(&self, ids: &[Id]) -> Result<()> {
        let expected: Vec<_> = ids.iter().map(|id| format!("server.{id}")).collect();
        ids.iter().try_for_each(|id| {
            self.ensemble.wait(&format!("server {id} to know of {ids:?}"), || {
                members_told_by(&self.ensemble, *id).is_ok_and(|members| members == expected)
            })
        })
    }

    fn wait_for_mode(&self, id: Id, mode: Mode) -> Result<()> {
        self.ensemble
            .wait(&format!("server {id} to be {mode:?}"), || self.ensemble.place(id).mode() == Some(mode))
    }

    fn leader(&self) -> Result<Id> {
        self.ensemble.wait_for_leader_other_than(None)
    }

    fn other_than(&self, ids: &[Id]) -> Result<Id> {
        let others = self.ensemble.ids().into_iter().filter(|id| self.ensemble.place(*id).is_running());
        others.into_iter().find(|id| !ids.contains(id)).context("nobody else runs")
    }
}

fn members_told_by(ensemble: &Ensemble, id: Id) -> Result<Vec<String>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let config = runtime.block_on(async {
        let client = Client::connect(&ensemble.address(id).to_string()).await?;
        let config = client.config().await?;
        client.close().await?;
        anyhow::Ok(config)
    })?;
    let text = String::from_utf8(config.data.to_vec())?;
    let lines = text.lines().filter(|line| line.starts_with("server."));
    Ok(lines.filter_map(|line| line.split('=').next()).map(str::to_owned).collect())
}

fn grow_change_and_shrink(composition: &str) -> Result<()> {
    let plan = Plan::of(&Kind::of_letters(composition)).dynamic().config(CONFIG).founded_by(1);
    let mut ensemble = plan.prepare()?;
    ensemble.start(1)?;
    ensemble.wait_until_serving(1)?;
    let settings = Settings { session_timeout: Duration::from_secs(30), ..Settings::default() };
    let load = Load::start(&ensemble, settings)?;
    let mut scene = Scene { ensemble, load, asked: 0 };
    grow(&mut scene)?;
    change_roles(&mut scene)?;
    move_ports(&mut scene)?;
    replace_leaders(&mut scene)?;
    let outcome = scene.load.stop()?;
    outcome.check(&scene.ensemble)?;
    println!("{composition}: {}", outcome.summary());
    ensure!(outcome.expired() == 0, "{} sessions are lost", outcome.expired());
    Ok(())
}

/// From one to three to five.
fn grow(scene: &mut Scene) -> Result<()> {
    scene.start(&[2, 3])?;
    scene.add(1, &[Seat::of(2), Seat::of(3)])?;
    scene.wait_for_members(&[1, 2, 3])?;
    scene.start(&[4, 5])?;
    scene.add(2, &[Seat::of(4), Seat::of(5)])?;
    scene.wait_for_members(&[1, 2, 3, 4, 5])
}

/// A voter becomes an observer, and votes again.
fn change_roles(scene: &mut Scene) -> Result<()> {
    let leader = scene.leader()?;
    let changed = scene.other_than(&[leader])?;
    scene.add(changed, &[Seat { role: Role::Observer, ..Seat::of(changed) }])?;
    scene.wait_for_mode(changed, Mode::Observer)?;
    scene.add(leader, &[Seat::of(changed)])?;
    scene.wait_for_mode(changed, Mode::Follower)
}

/// A follower's ports change, and change back; then the leader's, and another one leads.
fn move_ports(scene: &mut Scene) -> Result<()> {
    let leader = scene.leader()?;
    let moved = scene.other_than(&[leader])?;
    scene.add(leader, &[Seat { moved: MOVE, client_moved: MOVE, ..Seat::of(moved) }])?;
    let mut there = scene.ensemble.address(moved);
    there.set_port(CLIENT_PORT + MOVE);
    scene.ensemble.wait("a client port that has moved", || {
        tests::service::four_letter_word(there, "srvr").is_ok_and(|answer| answer.contains("Mode: follower"))
    })?;
    scene.add(leader, &[Seat::of(moved)])?;
    scene.ensemble.wait_until_serving(moved)?;
    scene.add(leader, &[Seat { moved: MOVE, ..Seat::of(leader) }])?;
    scene.ensemble.wait_for_leader_other_than(Some(leader))?;
    scene.wait_for_mode(leader, Mode::Follower)
}

/// The leader leaves, and the next one, until two are left; then only the leader stays.
fn replace_leaders(scene: &mut Scene) -> Result<()> {
    let mut members = scene.ensemble.ids();
    while members.len() > 2 {
        let leader = scene.leader()?;
        scene.remove(leader, &[leader])?;
        members.retain(|id| *id != leader);
        scene.ensemble.wait_for_leader_other_than(Some(leader))?;
        scene.ensemble.place_mut(leader).stop()?;
        scene.wait_for_members(&members)?;
    }
    let leader = scene.leader()?;
    let other = scene.other_than(&[leader])?;
    scene.remove(other, &[other])?;
    scene.wait_for_members(&[leader])?;
    scene.ensemble.place_mut(other).stop()
}
