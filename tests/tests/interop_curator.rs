//! Curator's recipes, caches and service discovery find what they need with our server, as with the Java server.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use tests::scripted::must_succeed;
use tests::service::{Service, interop_dir};
use tests::{peer, process, zkserver};

const JARS: &[&str] = &[
    "curator-client.jar",
    "curator-framework.jar",
    "curator-recipes.jar",
    "curator-x-discovery.jar",
    "zookeeper.jar",
    "zookeeper-jute.jar",
    "guava.jar",
    "jackson-core.jar",
    "jackson-databind.jar",
    "jackson-annotations.jar",
    "slf4j-api.jar",
    "slf4j-nop.jar",
];

#[test]
fn curators_recipes_work_with_the_java_server() -> Result<()> {
    run_scenarios(&peer::start()?)
}

#[test]
fn curators_recipes_work_with_our_server() -> Result<()> {
    run_scenarios(&zkserver::start()?)
}

fn run_scenarios(service: &Service) -> Result<()> {
    let classes = tempfile::tempdir()?;
    compile(classes.path())?;
    let class_path = format!("{}:{}", peer::class_path(JARS), classes.path().display());
    let mut java = peer::java();
    java.args(["-cp", &class_path, "Scenarios"]);
    must_succeed(service, &mut java, Duration::from_secs(300))
}

fn compile(classes: &Path) -> Result<()> {
    peer::installed(&Path::new(peer::JARS).join("curator-x-discovery.jar"))?;
    let mut javac = Command::new("javac");
    javac.args(["-nowarn", "-cp", &peer::class_path(JARS), "-d"]).arg(classes);
    let compiled =
        process::run(javac.arg(interop_dir("curator").join("Scenarios.java")), Duration::from_secs(120))?;
    ensure!(compiled.code == Some(0), "javac: {}", compiled.output);
    Ok(())
}
