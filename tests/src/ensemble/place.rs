//! One server's place in an ensemble, and the program that has it now.

use std::fmt;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use server::storage::{self, Disk, LogFlaw, OsDisk, TxnLogReader};
use server::zab::Zxid;

use super::Id;
use crate::process::Process;
use crate::service::{SUPER_DIGEST, four_letter_word_within};
use crate::{peer, zkserver};

/// How long a server may take to say what it is; a paused one never does.
const ANSWER_LIMIT: Duration = Duration::from_secs(1);
/// A server that is stopped in good order is gone by then.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Whose program it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Debian's ZooKeeper.
    Java,
    /// `zkserver`.
    Ours,
}

impl Kind {
    /// The kinds of a word such as `OJJ`: `J` for Java's, `O` for ours.
    ///
    /// # Panics
    /// At any other letter.
    #[must_use]
    pub fn of_letters(word: &str) -> Vec<Self> {
        let kind = |letter| match letter {
            'J' => Self::Java,
            'O' => Self::Ours,
            _ => panic!("{letter} in {word} is no kind of server"),
        };
        word.chars().map(kind).collect()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Java => "java",
            Self::Ours => "ours",
        })
    }
}

/// Whether it votes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It does.
    Participant,
    /// It does not.
    Observer,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        })
    }
}

/// What a server says it is, while it serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It leads, and a quorum follows.
    Leader,
    /// It follows.
    Follower,
    /// It learns without a vote.
    Observer,
    /// It is alone.
    Standalone,
    /// It has lost its quorum, and reads are all it does.
    ReadOnly,
}

impl Mode {
    fn from_srvr(answer: &str) -> Option<Self> {
        match answer.lines().find_map(|line| line.strip_prefix("Mode: "))? {
            "leader" => Some(Self::Leader),
            "follower" => Some(Self::Follower),
            "observer" => Some(Self::Observer),
            "standalone" => Some(Self::Standalone),
            "read-only" => Some(Self::ReadOnly),
            _ => None,
        }
    }
}

/// A server's id, directory and address, and the process that serves them now, if any.
#[derive(Debug)]
pub struct Place {
    id: Id,
    kind: Kind,
    role: Role,
    address: SocketAddr,
    dir: PathBuf,
    env: Vec<(String, String)>,
    process: Option<Process>,
    /// Whose program had it last.
    left_by: Option<Kind>,
    is_paused: bool,
    lives: u32,
}

impl Place {
    pub(super) fn new(id: Id, kind: Kind, role: Role, address: SocketAddr, parent: &Path) -> Self {
        let dir = parent.join(format!("server-{id}"));
        let (env, process, left_by) = (Vec::new(), None, None);
        Self { id, kind, role, address, dir, env, process, left_by, is_paused: false, lives: 0 }
    }

    /// Writes `zoo.cfg` and `myid`. Short ticks make time limits expire while a test looks on.
    pub(super) fn configure(&self, servers: &str, more: &str, is_dynamic: bool) -> Result<()> {
        fs::create_dir_all(self.data())?;
        fs::write(self.data().join("myid"), format!("{}\n", self.id))?;
        let mut config = format!(
            "tickTime=500\n\
             initLimit=20\n\
             syncLimit=4\n\
             maxSessionTimeout=60000\n\
             dataDir={}\n\
             maxClientCnxns=0\n\
             admin.enableServer=false\n\
             extendedTypesEnabled=true\n\
             4lw.commands.whitelist=*\n\
             DigestAuthenticationProvider.superDigest={SUPER_DIGEST}\n",
            self.data().display(),
        );
        if !is_dynamic {
            let client =
                format!("clientPort={}\nclientPortAddress={}\n", self.address.port(), self.address.ip());
            config.push_str(&client);
        }
        if self.role == Role::Observer {
            config.push_str("peerType=observer\n");
        }
        config.push_str(&more.replace("{host}", &self.address.ip().to_string()));
        config.push_str(servers);
        Ok(fs::write(self.config(), config)?)
    }

    /// Its number.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// Whose program has it.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it votes.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Where clients find it.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its zoo.cfg.
    #[must_use]
    pub fn config(&self) -> PathBuf {
        self.dir.join("zoo.cfg")
    }

    /// Its dataDir.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// What the program that has it now, or had it last, logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    /// What all programs that ever had it logged.
    #[must_use]
    pub fn all_logs(&self) -> String {
        let lives = (1..=self.lives).map(|life| fs::read_to_string(self.log_file_of(life)));
        lives.map(Result::unwrap_or_default).collect()
    }

    fn log_file(&self) -> PathBuf {
        self.log_file_of(self.lives)
    }

    fn log_file_of(&self, life: u32) -> PathBuf {
        self.dir.join(format!("server-{life}.log"))
    }

    /// Whether its txn log goes back somewhere: a Java server up to 3.8 whose sync failed half-way writes down twice what
    /// it is sent twice, and applies it twice at its next start (ZOOKEEPER-4394).
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn has_logged_twice(&self) -> Result<bool> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let mut log = TxnLogReader::open(disk, &self.data().join("version-2"), Zxid::ZERO)?;
        loop {
            match log.next_record() {
                Ok(Some(_)) => {}
                Ok(None) => return Ok(false),
                Err(storage::Error::CorruptLog { what: LogFlaw::Order { .. }, .. }) => return Ok(true),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Another program has it from the next start on.
    pub fn set_kind(&mut self, kind: Kind) {
        self.kind = kind;
    }

    /// A variable of its environment, from the next start on.
    pub fn set_env(&mut self, name: &str, value: &str) {
        self.env.push((name.to_owned(), value.to_owned()));
    }

    pub(super) fn start(&mut self, inside: impl FnOnce(Command) -> Command) -> Result<()> {
        ensure!(self.process.is_none(), "server {} runs already", self.id);
        let command = match self.kind {
            Kind::Java => peer::launch(&self.config())?,
            Kind::Ours => zkserver::launch(&self.config())?,
        };
        if (self.left_by, self.kind) == (Some(Kind::Java), Kind::Java) {
            self.remove_empty_logs()?;
        }
        self.left_by = Some(self.kind);
        let mut command = inside(command);
        command.current_dir(&self.dir).envs(self.env.iter().map(|(name, value)| (name, value)));
        self.lives += 1;
        self.process = Some(Process::spawn_logging_to(&mut command, &self.log_file())?);
        Ok(())
    }

    /// What operators do for a Java server that was killed between making a log file and writing its header: it does not
    /// start again with such a file (ZOOKEEPER-2332). What ours leaves, Java must start with as it is.
    fn remove_empty_logs(&self) -> Result<()> {
        let Ok(files) = fs::read_dir(self.data().join("version-2")) else { return Ok(()) };
        for file in files {
            let file = file?;
            let is_log = file.file_name().to_string_lossy().starts_with("log.");
            if is_log && file.metadata()?.len() == 0 {
                fs::remove_file(file.path())?;
            }
        }
        Ok(())
    }

    /// Ends it as `kill -9` does; a second time changes nothing.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn kill(&mut self) -> Result<()> {
        self.is_paused = false;
        match self.process.take() {
            Some(mut process) => Ok(process.kill()?),
            None => Ok(()),
        }
    }

    /// Ends it as operators do.
    ///
    /// # Errors
    /// When it does not end, or not well.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else { return Ok(()) };
        process.signal("TERM")?;
        let ended = process.wait(STOP_LIMIT)?;
        // A JVM ends with 128 and the signal's number.
        let is_well = matches!(ended.code(), Some(0 | 143));
        ensure!(is_well, "server {} ({}) ended with {ended}; its log:\n{}", self.id, self.kind, self.log());
        Ok(())
    }

    /// Stops its clock, as a long collection of garbage does.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pause(&mut self) -> Result<()> {
        let Some(process) = &self.process else { anyhow::bail!("server {} does not run", self.id) };
        process.signal("STOP")?;
        self.is_paused = true;
        Ok(())
    }

    /// Lets it run on, if it was paused.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn resume(&mut self) -> Result<()> {
        if let (Some(process), true) = (&self.process, self.is_paused) {
            process.signal("CONT")?;
        }
        self.is_paused = false;
        Ok(())
    }

    /// Whether it has been started and not ended by us.
    #[must_use]
    pub fn is_running(&self) -> bool {
        self.process.is_some()
    }

    /// Whether it was started, and has ended by itself.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(match &mut self.process {
            Some(process) => process.try_wait()?.is_some(),
            None => false,
        })
    }

    /// What it says it is; `None` when it does not serve.
    #[must_use]
    pub fn mode(&self) -> Option<Mode> {
        if self.process.is_none() || self.is_paused {
            return None;
        }
        Mode::from_srvr(&four_letter_word_within(self.address, "srvr", ANSWER_LIMIT).ok()?)
    }
}
