//! Our own programs, as the tests run them.
//!
//! Cargo tells a test the path of a binary only if both are of one crate. Ours are not, so the binaries are looked for where
//! cargo put the test itself: `<target>/<profile>/deps/test` stands beside `<target>/<profile>/zkserver`. Cargo is asked
//! to build them first, once for each test process: it returns at once if they are fresh, and a stale server
//! is never tested.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use anyhow::{Context, Result, ensure};

use crate::service::{Service, Settings};

/// Starts our server.
pub fn start() -> Result<Service> {
    start_with(&Settings::default())
}

/// Starts our server, a different one.
pub fn start_with(settings: &Settings) -> Result<Service> {
    Service::start_with("zkserver", launch, settings)
}

/// How our server is called.
pub fn launch(config: &Path) -> Result<Command> {
    let mut command = Command::new(binary("server", "zkserver")?);
    command.arg("-Dznode.container.checkIntervalMs=500").arg(config);
    Ok(command)
}

/// The program `name` of the crate `package`, freshly built.
///
/// # Errors
/// When cargo cannot build it.
pub fn binary(package: &str, name: &str) -> Result<PathBuf> {
    static BUILT: OnceLock<Result<(), String>> = OnceLock::new();
    BUILT
        .get_or_init(|| build().map_err(|error| format!("{error:#}")))
        .clone()
        .map_err(anyhow::Error::msg)
        .with_context(|| format!("building {name} of {package}"))?;
    let path = profile_dir().join(name);
    ensure!(path.exists(), "{} is missing after a build", path.display());
    Ok(path)
}

fn build() -> Result<()> {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .args(["build", "--quiet", "--locked", "-p", "server", "-p", "client", "-p", "broker", "--bins"])
        .arg("--target-dir")
        .arg(target_dir());
    if profile_dir().ends_with("release") {
        command.arg("--release");
    }
    let status = command.status()?;
    ensure!(status.success(), "cargo build ended with {status}");
    Ok(())
}

/// Where cargo puts what it builds for all profiles.
pub fn target_dir() -> PathBuf {
    profile_dir().parent().map(Path::to_path_buf).unwrap_or_default()
}

/// `<target>/<profile>`, from `<target>/<profile>/deps/<this test>`.
fn profile_dir() -> PathBuf {
    let test = env::current_exe().unwrap_or_default();
    test.ancestors().nth(2).map(Path::to_path_buf).unwrap_or_default()
}
