//! The peers that `scripts/install-test-peers.sh` installs, and where they are.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use crate::service::{Service, Settings};
use crate::zkserver::target_dir;

/// Where Debian puts its jars.
pub const JARS: &str = "/usr/share/java";
/// The Java shell's script.
pub const ZKCLI_SH: &str = "/usr/share/zookeeper/bin/zkCli.sh";
/// The C client's shell.
pub const CLI_MT: &str = "/usr/lib/zookeeper/bin/cli_mt";

/// Flags with which a JVM starts fast and stays small.
pub const QUICK_JVM: [&str; 3] = ["-Xmx512m", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC"];

/// A JVM that starts fast.
///
/// ZooKeeper encodes the paths whose digest it computes, and what its shell prints, in the locale's character set: on a
/// machine without a locale, a path like `/größe` has another digest.
#[must_use]
pub fn java() -> Command {
    let mut command = Command::new("java");
    command.args(QUICK_JVM).envs(UTF8_LOCALE);
    command
}

/// See [`java`].
pub const UTF8_LOCALE: [(&str, &str); 1] = [("LC_ALL", "C.UTF-8")];

/// Starts the Java server.
pub fn start() -> Result<Service> {
    start_with(&Settings::default())
}

/// Starts the Java server, a different one.
pub fn start_with(settings: &Settings) -> Result<Service> {
    Service::start_with("java", launch, settings)
}

/// How the Java server is called.
pub fn launch(config: &Path) -> Result<Command> {
    let mut command = java();
    command
        .arg("-Dznode.container.checkIntervalMs=500")
        .arg("-cp")
        .arg(server_class_path()?)
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(config);
    Ok(command)
}

/// Debian's server, or the one that `ZOOKEEPER_CLASS_PATH` names: another version can be compared with that way.
fn server_class_path() -> Result<OsString> {
    if let Some(class_path) = env::var_os("ZOOKEEPER_CLASS_PATH") {
        return Ok(class_path);
    }
    installed(&Path::new(JARS).join("zookeeper.jar"))?;
    Ok(class_path(&["zookeeper.jar", "slf4j-nop.jar", "snappy-java.jar"]).into())
}

/// A class path of `jars` out of [`JARS`].
pub fn class_path(jars: &[&str]) -> String {
    let paths: Vec<_> = jars.iter().map(|jar| format!("{JARS}/{jar}")).collect();
    paths.join(":")
}

/// The Python interpreter that has kazoo, in the virtual environment made by the installing script.
pub fn kazoo_python() -> Result<PathBuf> {
    let python = target_dir().join("peers/kazoo-2.10.0/bin/python");
    installed(&python)?;
    Ok(python)
}

/// The Python interpreter that has Kafka's clients, in the virtual environment made by the installing script.
pub fn kafka_python() -> Result<PathBuf> {
    let python = target_dir().join("peers/kafka/bin/python");
    installed(&python)?;
    Ok(python)
}

/// Where the installing script puts kafkajs.
pub fn kafka_node_modules() -> Result<PathBuf> {
    let modules = target_dir().join("peers/kafkajs/node_modules");
    installed(&modules)?;
    Ok(modules)
}

/// # Errors
/// When `path` is missing; the error says which script installs it.
pub fn installed(path: &Path) -> Result<()> {
    ensure!(path.exists(), "{} is missing: scripts/install-test-peers.sh installs it", path.display());
    Ok(())
}
