//! Talking to an interactive program line by line, over pipes.
//!
//! A program at the other end of a pipe does not say when it has finished with a command. So each command is followed by
//! another whose answer is known, the *marker*, and what comes before that answer is the command's output.

use std::io::{self, Read, Write};
use std::process::{ChildStdin, Command};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::process::Process;
use crate::transcript::{Section, Transcript};

const ANSWER_LIMIT: Duration = Duration::from_secs(30);

/// How one kind of program is talked to.
#[derive(Debug, Clone, Copy)]
pub struct Dialect {
    /// A command that changes nothing,
    pub marker: &'static str,
    /// the lines with one of which its answer ends,
    pub answers: &'static [&'static str],
    /// what lines to the program's own threads begin with, which may print between any two of the command's lines.
    pub events: &'static [&'static str],
    /// The command with which the program ends itself.
    pub quit: &'static str,
}

/// A program being talked to. Both its outputs arrive in one pipe, so that their lines stay in order.
#[derive(Debug)]
pub struct Shell {
    dialect: Dialect,
    process: Process,
    input: ChildStdin,
    chunks: Receiver<Vec<u8>>,
    unread: String,
    events: Vec<String>,
    awaited: usize,
}

impl Shell {
    /// Starts `command` and waits until it has answered its first marker; what it said until then is its greeting.
    pub fn start(dialect: Dialect, command: &mut Command) -> Result<(Self, String)> {
        let (output, out) = io::pipe()?;
        let err = out.try_clone()?;
        let mut process =
            Process::spawn(command.stdin(std::process::Stdio::piped()).stdout(out).stderr(err))?;
        // The command keeps the writing ends open as long as it holds them.
        command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null());
        let input = process.child().stdin.take().context("a pipe to its input")?;
        let chunks = read_in_background(output);
        let mut shell =
            Self { dialect, process, input, chunks, unread: String::new(), events: Vec::new(), awaited: 0 };
        let greeting = shell.finish_command()?;
        Ok((shell, greeting))
    }

    /// Runs a whole script, one command a line, and ends the program.
    ///
    /// Empty lines and those that begin with `#` are skipped. `!event TEXT` waits until an event that ends with TEXT has come,
    /// after those awaited before.
    pub fn play(mut self, script: &str) -> Result<Transcript> {
        let mut transcript = Transcript::default();
        for line in script.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some(event) = line.strip_prefix("!event ") {
                self.await_event(event).with_context(|| format!("after\n{transcript}"))?;
                continue;
            }
            let output = self.ask(line).with_context(|| format!("{line:?} after\n{transcript}"))?;
            transcript.sections.push(Section { command: line.to_owned(), output });
        }
        let output = self.quit()?;
        transcript.sections.push(Section { command: self.dialect.quit.to_owned(), output });
        transcript.sections.push(Section { command: "(events)".to_owned(), output: self.events.join("\n") });
        Ok(transcript)
    }

    /// Sends one command, and gives what it printed.
    pub fn ask(&mut self, command: &str) -> Result<String> {
        self.say(command)?;
        self.finish_command()
    }

    /// Whole lines only: `cli_mt` forgets the beginning of a line that it reads behind another one.
    fn say(&mut self, line: &str) -> Result<()> {
        Ok(self.input.write_all(format!("{line}\n").as_bytes())?)
    }

    fn finish_command(&mut self) -> Result<String> {
        self.say(self.dialect.marker)?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            if let Some((at, end)) = find_line(&self.unread, self.dialect.answers) {
                let output = self.unread[..at].to_owned();
                self.unread.drain(..end);
                return Ok(output);
            }
            self.receive(deadline)?;
        }
    }

    fn await_event(&mut self, wanted: &str) -> Result<()> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let fresh = self.events.iter().skip(self.awaited);
            if let Some(position) = fresh.into_iter().position(|event| without_zxid(event).ends_with(wanted))
            {
                self.awaited += position + 1;
                return Ok(());
            }
            self.receive(deadline)
                .with_context(|| format!("waiting for {wanted:?}, got {:?}", self.events))?;
        }
    }

    /// Ends the program as a user does, and gives its last words.
    fn quit(&mut self) -> Result<String> {
        self.say(self.dialect.quit)?;
        let status = self.process.wait(ANSWER_LIMIT)?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        while !matches!(self.try_receive(deadline), Err(RecvTimeoutError::Disconnected)) {
            if Instant::now() >= deadline {
                bail!("its output stays open after its end");
            }
        }
        Ok(format!("{}\n(exit status {})\n", self.unread.trim_end(), status.code().unwrap_or(-1)))
    }

    fn receive(&mut self, deadline: Instant) -> Result<()> {
        self.try_receive(deadline).with_context(|| {
            format!("no answer; unread so far: {:?}, events: {:?}", self.unread, self.events)
        })
    }

    fn try_receive(&mut self, deadline: Instant) -> Result<(), RecvTimeoutError> {
        let chunk = self.chunks.recv_timeout(deadline.saturating_duration_since(Instant::now()))?;
        self.unread.push_str(&String::from_utf8_lossy(&chunk));
        self.take_events();
        Ok(())
    }

    /// Moves complete event lines, each with the empty line before it, out of the output.
    fn take_events(&mut self) {
        for begin in self.dialect.events {
            let wanted = format!("\n{begin}");
            while let Some(at) = self.unread.find(&wanted) {
                let Some(length) = self.unread[at + 1..].find('\n') else { return };
                let event: String = self.unread.drain(at..at + length + 2).collect();
                self.events.push(event.trim().to_owned());
            }
        }
        self.events.retain(|event| event != "WATCHER::");
    }
}

/// ZooKeeper 3.9 tells an event's transaction, older ones don't.
pub fn without_zxid(event: &str) -> &str {
    event.split(" zxid: ").next().unwrap_or(event)
}

/// Where the first line that is one of `wanted` begins, and where the next one does.
fn find_line(text: &str, wanted: &[&str]) -> Option<(usize, usize)> {
    let mut begin = 0;
    for line in text.split_inclusive('\n') {
        let end = begin + line.len();
        if line.strip_suffix('\n').is_some_and(|line| wanted.contains(&line)) {
            return Some((begin, end));
        }
        begin = end;
    }
    None
}

fn read_in_background(mut output: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, chunks) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 8192];
        while let Ok(length @ 1..) = output.read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    chunks
}
