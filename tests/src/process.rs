//! Child processes that cannot outlive the test that started them.

use std::io::{self, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// However long the whole machine stands still between two polls, no more counts as waiting.
const STANDSTILL_MAX: Duration = Duration::from_secs(1);

/// Polls `condition` until it holds or `limit` has passed, and tells which.
pub fn wait_until(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let (mut waited, mut polled) = (Duration::ZERO, Instant::now());
    while !condition() {
        if waited >= limit {
            return false;
        }
        thread::sleep(Duration::from_millis(10));
        waited += polled.elapsed().min(STANDSTILL_MAX);
        polled = Instant::now();
    }
    true
}

/// A child that is killed when dropped, by its own id.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, with both its outputs going to the file `log`.
    pub fn spawn_logging_to(command: &mut Command, log: &Path) -> Result<Self> {
        let out = std::fs::File::create(log).with_context(|| format!("creating {}", log.display()))?;
        let err = out.try_clone()?;
        Self::spawn(command.stdin(Stdio::null()).stdout(out).stderr(err))
    }

    /// Starts `command` as it is.
    pub fn spawn(command: &mut Command) -> Result<Self> {
        let child = command.spawn().with_context(|| format!("starting {:?}", command.get_program()))?;
        Ok(Self { child })
    }

    /// The child itself, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// The id the system gave it.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends it the signal of this name, such as `TERM` or `STOP`.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn signal(&self, name: &str) -> Result<()> {
        let told = Command::new("kill").args([&format!("-{name}"), &self.id().to_string()]).status()?;
        ensure!(told.success(), "kill -{name} {} ended with {told}", self.id());
        Ok(())
    }

    /// How it ended, if it has.
    pub fn try_wait(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// When it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let mut ended = None;
        wait_until(limit, || {
            ended = self.child.try_wait().ok().flatten();
            ended.is_some()
        });
        ended.with_context(|| format!("process {} still runs after {limit:?}", self.id()))
    }

    /// Ends it at once, as `kill -9` does, and waits until it is gone.
    pub fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.kill();
    }
}

/// How a command that ran to its end went.
#[derive(Debug)]
pub struct Finished {
    /// Its exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to either output, in the order in which it arrived.
    pub output: String,
}

/// Runs `command` with no input, and gives what it wrote.
///
/// # Errors
/// When it does not end within `limit`: it is killed, and the error says what it had written so far.
pub fn run(command: &mut Command, limit: Duration) -> Result<Finished> {
    let (mut output, out) = io::pipe()?;
    let err = out.try_clone()?;
    let mut process = Process::spawn(command.stdin(Stdio::null()).stdout(out).stderr(err))?;
    // The command holds the pipe's writing ends; the reader below ends only when all of them are closed.
    command.stdout(Stdio::null()).stderr(Stdio::null());

    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        output.read_to_end(&mut bytes).map(|_| bytes)
    });
    let ended = process.wait(limit);
    process.kill()?;
    let bytes = reader.join().expect("the reader does not panic")?;
    let output = String::from_utf8_lossy(&bytes).into_owned();
    match ended {
        Ok(status) => Ok(Finished { code: status.code(), output }),
        Err(late) => bail!("{late}; its output:\n{output}"),
    }
}
