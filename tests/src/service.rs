//! A server under test: its directory, its port, and the process that serves it.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use tempfile::TempDir;

use crate::process::{Process, wait_until};

/// A JVM on a busy machine takes its time.
const START_LIMIT: Duration = Duration::from_secs(60);

/// `super:secret`, as the digest scheme keeps it: with it the scripts become the super user.
pub(crate) const SUPER_DIGEST: &str = "super:lK75jTNcA+U9vtVEw5vB51mj/w4=";

/// How to call a server's program with a configuration file.
pub type Launch = fn(config: &Path) -> Result<Command>;

/// What is different about a server under test.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    /// Its `dataDir`, if not one in a directory that goes with the server.
    pub data: Option<PathBuf>,
    /// More lines of zoo.cfg.
    pub config: String,
    /// Its environment's variables, besides ours.
    pub env: Vec<(String, String)>,
}

/// A running server, alone on a port and in a directory that goes when it is dropped.
#[derive(Debug)]
pub struct Service {
    name: &'static str,
    launch: Launch,
    address: SocketAddr,
    env: Vec<(String, String)>,
    process: Process,
    dir: TempDir,
}

impl Service {
    /// Starts a server and waits until it answers.
    ///
    /// # Errors
    /// When it ends, or does not answer in time; the error holds its log.
    pub fn start(name: &'static str, launch: Launch) -> Result<Self> {
        Self::start_with(name, launch, &Settings::default())
    }

    /// Starts a server that is different.
    ///
    /// # Errors
    /// See [`Service::start`].
    pub fn start_with(name: &'static str, launch: Launch, settings: &Settings) -> Result<Self> {
        // Another process can take the port between our asking for a free one and the server's binding it.
        let mut last = None;
        for _ in 0..3 {
            match Self::try_start(name, launch, settings) {
                Ok(service) => return Ok(service),
                Err(error) => last = Some(error),
            }
        }
        Err(last.expect("three attempts were made"))
    }

    fn try_start(name: &'static str, launch: Launch, settings: &Settings) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix(&format!("{name}-")).tempdir()?;
        let address = free_address()?;
        let config = dir.path().join("zoo.cfg");
        let data = settings.data.clone().unwrap_or_else(|| dir.path().join("data"));
        fs::write(&config, configuration(&data, address) + &settings.config)?;
        let process = spawn(launch, &settings.env, dir.path())?;
        let mut service = Self { name, launch, address, env: settings.env.clone(), process, dir };
        service.wait_until_serving()?;
        Ok(service)
    }

    /// Ends it as `kill -9` does.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        Ok(self.process.kill()?)
    }

    /// Starts it again, in the same directory and on the same port, and waits until it answers.
    ///
    /// # Errors
    /// See [`Service::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = spawn(self.launch, &self.env, self.dir.path())?;
        self.wait_until_serving()
    }

    /// Has another program serve from here on, in the same directory and on the same port.
    ///
    /// # Errors
    /// See [`Service::start`].
    pub fn restart_as(&mut self, name: &'static str, launch: Launch) -> Result<()> {
        (self.name, self.launch) = (name, launch);
        self.restart()
    }

    /// Starts it as [`Service::restart`] does, without waiting for it.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn begin_restart(&mut self) -> Result<()> {
        self.kill()?;
        self.process = spawn(self.launch, &self.env, self.dir.path())?;
        Ok(())
    }

    /// Ends it as operators do, and waits until it has ended.
    ///
    /// # Errors
    /// When it does not end well.
    pub fn stop(&mut self) -> Result<()> {
        self.process.signal("TERM")?;
        let ended = self.wait(START_LIMIT)?;
        // A JVM ends with 128 and the signal's number.
        ensure!(
            matches!(ended.code(), Some(0 | 143)),
            "{} ended with {ended}; its log:\n{}",
            self.name,
            self.log()
        );
        Ok(())
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        self.process.wait(limit)
    }

    fn wait_until_serving(&mut self) -> Result<()> {
        let mut ended = None;
        let address = self.address;
        let process = &mut self.process;
        let decided = wait_until(START_LIMIT, || {
            ended = process.try_wait().ok().flatten();
            ended.is_some() || four_letter_word(address, "srvr").is_ok_and(|answer| answer.contains("Mode:"))
        });
        let served = match ended {
            Some(status) => Err(anyhow!("ended with {status} before it served")),
            None if !decided => Err(anyhow!("does not serve after {START_LIMIT:?}")),
            None => Ok(()),
        };
        served.with_context(|| format!("{} at {address}; its log:\n{}", self.name, self.log()))
    }

    /// What the tests call it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Where clients find it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The process that serves it.
    pub fn process_id(&self) -> u32 {
        self.process.id()
    }

    /// Its directory, with `zoo.cfg`, `server.log` and `data`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("server.log")).unwrap_or_default()
    }
}

fn spawn(launch: Launch, env: &[(String, String)], dir: &Path) -> Result<Process> {
    let mut command = launch(&dir.join("zoo.cfg"))?;
    command.current_dir(dir).envs(env.iter().map(|(name, value)| (name, value)));
    Process::spawn_logging_to(&mut command, &dir.join("server.log"))
}

/// Asks the server at `address` one of its four-letter words.
pub fn four_letter_word(address: SocketAddr, word: &str) -> Result<String> {
    four_letter_word_within(address, word, Duration::from_secs(5))
}

/// The same of a server that may not answer: it has `limit` for each step.
///
/// # Errors
/// When it does not answer.
pub fn four_letter_word_within(address: SocketAddr, word: &str, limit: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The folder of one interoperability script, `tests/interop/<name>`.
pub fn interop_dir(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("interop").join(name)
}

/// A port of the loopback interface that nobody has just now.
///
/// # Errors
/// When the system refuses.
pub fn free_address() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// One configuration for both servers. Short ticks make sessions expire, and containers go, while a test looks on.
fn configuration(data: &Path, address: SocketAddr) -> String {
    format!(
        "tickTime=500\n\
         maxSessionTimeout=60000\n\
         dataDir={}\n\
         clientPort={}\n\
         clientPortAddress={}\n\
         maxClientCnxns=0\n\
         admin.enableServer=false\n\
         extendedTypesEnabled=true\n\
         enforceQuota=true\n\
         4lw.commands.whitelist=*\n\
         DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n",
        data.display(),
        address.port(),
        address.ip(),
    )
}
