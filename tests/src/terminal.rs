//! A program in a terminal: keys go in, and what a user sees on her screen comes out.

use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, ExitStatus};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use pty_process::Size;
use pty_process::blocking::{Command, Pty};

const LIMIT: Duration = Duration::from_secs(30);
/// What keys send.
#[allow(missing_docs, reason = "each says what it is")]
pub mod keys {
    pub const ENTER: &str = "\r";
    pub const TAB: &str = "\t";
    pub const BACKSPACE: &str = "\x7f";
    pub const UP: &str = "\x1b[A";
    pub const LEFT: &str = "\x1b[D";
    pub const CTRL_C: &str = "\x03";
    pub const CTRL_D: &str = "\x04";
    pub const CTRL_L: &str = "\x0c";
    pub const CTRL_U: &str = "\x15";
}

/// A program, and the screen it writes to. The program is killed when this is dropped.
pub struct Terminal {
    child: Child,
    pty: Arc<Pty>,
    output: Receiver<Vec<u8>>,
    emulator: vt100::Parser,
}

impl Terminal {
    /// Starts `command` in a terminal of `rows` and `columns`.
    pub fn start(command: Command, rows: u16, columns: u16) -> Result<Self> {
        let (pty, pts) = pty_process::blocking::open()?;
        pty.resize(Size::new(rows, columns))?;
        let child = command.env("TERM", "xterm").spawn(pts)?;
        let pty = Arc::new(pty);
        let output = read_in_background(Arc::clone(&pty));
        Ok(Self {
            child,
            pty,
            output,
            emulator: vt100::Parser::new(at_least_one(rows), at_least_one(columns), 0),
        })
    }

    /// Types `keys`.
    pub fn press(&mut self, keys: &str) -> Result<()> {
        (&*self.pty).write_all(keys.as_bytes()).context("the terminal is closed")
    }

    /// Types a line.
    pub fn enter(&mut self, line: &str) -> Result<()> {
        self.press(line)?;
        self.press(keys::ENTER)
    }

    /// Makes the window larger or smaller.
    pub fn resize(&mut self, rows: u16, columns: u16) -> Result<()> {
        self.pty.resize(Size::new(rows, columns))?;
        self.emulator.screen_mut().set_size(at_least_one(rows), at_least_one(columns));
        Ok(())
    }

    /// Waits until `wanted` holds of the screen's lines, which it gets without the empty ones at the end.
    ///
    /// # Errors
    /// When it does not in time; the error shows the screen.
    pub fn await_screen(&mut self, what: &str, wanted: impl Fn(&[&str]) -> bool) -> Result<()> {
        let deadline = Instant::now() + LIMIT;
        loop {
            let screen = self.emulator.screen().contents();
            if wanted(&screen.lines().map(str::trim_end).collect::<Vec<_>>()) {
                return Ok(());
            }
            match self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(bytes) => self.emulator.process(&bytes),
                Err(why) => bail!("no {what} ({why}); the screen:\n{screen}"),
            }
        }
    }

    /// Waits until the last line is `line`.
    pub fn await_line(&mut self, line: &str) -> Result<()> {
        self.await_screen(&format!("line {line:?}"), |lines| {
            lines.last().is_some_and(|last| *last == line.trim_end())
        })
    }

    /// Waits for `text`, anywhere on the screen.
    pub fn await_text(&mut self, text: &str) -> Result<()> {
        self.await_screen(&format!("{text:?}"), |lines| lines.join("\n").contains(text))
    }

    /// The screen as it is now.
    pub fn screen(&self) -> String {
        self.emulator.screen().contents()
    }

    /// The program wants to be told what is pasted and what is typed.
    pub fn tells_pasting_from_typing(&self) -> bool {
        self.emulator.screen().bracketed_paste()
    }

    /// Waits for the program to end.
    pub fn wait(mut self) -> Result<ExitStatus> {
        let deadline = Instant::now() + LIMIT;
        // The output ends with the program.
        while let Ok(bytes) = self.output.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.emulator.process(&bytes);
        }
        match self.child.try_wait()? {
            Some(status) => Ok(status),
            None if Instant::now() < deadline => Ok(self.child.wait()?),
            None => bail!("it still runs; the screen:\n{}", self.screen()),
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may be gone already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn at_least_one(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).unwrap_or(NonZeroU16::MIN)
}

fn read_in_background(pty: Arc<Pty>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // A terminal whose program has gone gives an error.
        while let Ok(count @ 1..) = (&*pty).read(&mut buffer) {
            if sender.send(buffer[..count].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}
