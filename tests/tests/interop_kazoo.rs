//! kazoo, Python's client, and its recipes find what they need with our server, as with the Java server.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use tests::scripted::must_succeed;
use tests::service::{Service, interop_dir};
use tests::{peer, zkserver};

#[test]
fn kazoos_recipes_work_with_the_java_server() -> Result<()> {
    run_scenarios(&peer::start()?)
}

#[test]
fn kazoos_recipes_work_with_our_server() -> Result<()> {
    run_scenarios(&zkserver::start()?)
}

fn run_scenarios(service: &Service) -> Result<()> {
    let mut python = Command::new(peer::kazoo_python()?);
    must_succeed(service, python.arg(interop_dir("kazoo").join("scenarios.py")), Duration::from_secs(300))
}
