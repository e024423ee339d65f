//! One line after the other: history, the commands that concern the shell itself, and the way to all others.
//! `ZooKeeperMain`.

use crate::commands;
use crate::failure::Failure;
use crate::notices::Notices;
use crate::options::Options;
use crate::output;
use crate::session::Session;
use crate::words;

/// How many commands `history` shows before its own.
const HISTORY_SHOWN: usize = 10;

/// A user's session with the shell.
pub(crate) struct Shell {
    options: Options,
    session: Session,
    notices: Notices,
    /// Every line so far, the running one included.
    history: Vec<String>,
    /// The running command's number.
    number: usize,
    /// The last command's exit status.
    status: i32,
}

/// What is to be done after a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    Go,
    Quit,
}

impl Shell {
    pub(crate) async fn open(options: Options, notices: Notices) -> Result<Self, Failure> {
        let session = Session::open(&options.server, &options, &notices).await?;
        Ok(Self { options, session, notices, history: Vec::new(), number: 0, status: 0 })
    }

    /// The last command's exit status, with which the shell ends.
    pub(crate) fn status(&self) -> i32 {
        self.status
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn prompt(&self) -> String {
        format!("[zk: {}({}) {}] ", self.session.server, self.session.state_name(), self.number)
    }

    /// Runs a line, and remembers it.
    pub(crate) async fn run_line(&mut self, line: &str) -> Next {
        let words = words::split(line);
        if words.is_empty() {
            return Next::Go;
        }
        self.history.push(line.to_owned());
        let next = self.run_words(words).await;
        self.number += 1;
        next
    }

    /// Runs a command, and prints why it failed if it does.
    pub(crate) async fn run_words(&mut self, words: Vec<String>) -> Next {
        let (next, outcome) = match self.again(words) {
            Ok(words) => self.dispatch(&words).await,
            Err(failure) => (Next::Go, Err(failure)),
        };
        self.status = outcome.as_ref().err().map_or(0, |failure| failure.status);
        if let Err(failure) = outcome {
            output::error_line(&failure.message);
        }
        next
    }

    /// The words themselves or, for `redo n`, those of line n, which takes the place of `redo n` in the history.
    fn again(&mut self, words: Vec<String>) -> Result<Vec<String>, Failure> {
        let [command, number, ..] = words.as_slice() else { return Ok(words) };
        if command != "redo" {
            return Ok(words);
        }
        let number: i64 = number
            .parse()
            .map_err(|_| Failure::new(format!("redo {number}: not the number of a command")))?;
        let line = usize::try_from(number).ok().filter(|number| *number < self.number);
        let Some(line) = line.and_then(|number| self.history.get(number).cloned()) else {
            return Err(Failure::new("Command index out of range"));
        };
        let words = words::split(&line);
        if words.first().is_some_and(|first| first == "redo") {
            return Err(Failure::new("No redoing redos"));
        }
        if let Some(last) = self.history.last_mut() {
            *last = line;
        }
        Ok(words)
    }

    async fn dispatch(&mut self, words: &[String]) -> (Next, Result<(), Failure>) {
        let command = words.first().map_or("", String::as_str);
        if !commands::is_known(command) {
            output::error_line(commands::usage().trim_end_matches('\n'));
            return (Next::Go, Err(Failure::not_found(command)));
        }
        let argument = words.get(1).map(String::as_str);
        match command {
            "quit" => {
                // The service may be gone: then the session ends by its timeout.
                let _ = self.session.client.close().await;
                return (Next::Quit, Ok(()));
            }
            "history" => self.show_history(),
            "printwatches" => self.print_watches(argument),
            "connect" => {
                if let Err(failure) = self.connect(argument).await {
                    return (Next::Go, Err(failure));
                }
            }
            _ => {}
        }
        if !self.session.is_alive() {
            output::line("Not connected");
            return (Next::Go, Ok(()));
        }
        (Next::Go, commands::run(&self.session, words).await)
    }

    fn show_history(&self) {
        for number in self.number.saturating_sub(HISTORY_SHOWN)..=self.number {
            let line = self.history.get(number).map_or("null", String::as_str);
            output::line(&format!("{number} - {line}"));
        }
    }

    fn print_watches(&self, argument: Option<&str>) {
        match argument {
            Some(switch) => self.notices.enable(switch == "on"),
            None => {
                let switch = if self.notices.are_enabled() { "on" } else { "off" };
                output::line(&format!("printwatches is {switch}"));
            }
        }
    }

    async fn connect(&mut self, server: Option<&str>) -> Result<(), Failure> {
        if self.session.is_alive() {
            let _ = self.session.client.close().await;
        }
        let server = server.unwrap_or(&self.session.server).to_owned();
        self.session = Session::open(&server, &self.options, &self.notices).await?;
        Ok(())
    }
}
