//! Where lines come from: a terminal, with history, completion and events above the prompt, or a pipe.

use std::io::{self, BufRead};
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use client::Client;
use rustyline::completion::Completer;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::DefaultHistory;
use rustyline::validate::Validator;
use rustyline::{CompletionType, Config, Context, Editor, ExternalPrinter, Helper};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use crate::commands;
use crate::notices::{Notices, Printer};

/// How long Tab waits for the service.
const COMPLETION_LIMIT: Duration = Duration::from_millis(500);

/// What the reader of a terminal needs for its next line.
struct Ask {
    prompt: String,
    /// Whose znodes complete a path.
    client: Client,
}

/// Lines, one at a time, each asked for.
pub(crate) struct Lines {
    asks: mpsc::UnboundedSender<Ask>,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Lines {
    /// Reads a terminal.
    pub(crate) fn from_terminal(notices: &Notices) -> Result<Self> {
        // As in ZooKeeper's shell, Tab lists what fits, and a pasted block runs line by line.
        let config = Config::builder()
            .auto_add_history(true)
            .completion_type(CompletionType::List)
            .bracketed_paste(false)
            .build();
        let mut editor =
            Editor::with_history(config, DefaultHistory::new()).context("opening the terminal")?;
        editor.set_helper(Some(Completion { runtime: Handle::current(), client: None }));
        if let Some(file) = history_file() {
            // The first session has none.
            let _ = editor.load_history(&file);
        }
        let mut above_prompt = editor.create_external_printer().context("opening the terminal")?;
        let printer: Printer = Box::new(move |text| {
            let _ = above_prompt.print(text); // The terminal has gone, and the session will end.
        });
        notices.print_through(printer);
        Ok(Self::read_by(move |ask| read_terminal(&mut editor, ask)))
    }

    /// Reads stdin without a prompt, as ZooKeeper's shell does where it finds no terminal.
    pub(crate) fn from_pipe() -> Self {
        Self::read_by(|_| io::stdin().lock().lines().next()?.ok())
    }

    /// Reading blocks: it has a thread of its own.
    fn read_by(mut read: impl FnMut(Ask) -> Option<String> + Send + 'static) -> Self {
        let (asks, mut asked) = mpsc::unbounded_channel();
        let (sender, lines) = mpsc::unbounded_channel();
        thread::spawn(move || {
            while let Some(line) = asked.blocking_recv().and_then(&mut read) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Self { asks, lines }
    }

    /// The next line; `None` at the end of the input.
    pub(crate) async fn next(&mut self, prompt: String, client: Client) -> Option<String> {
        self.asks.send(Ask { prompt, client }).ok()?;
        self.lines.recv().await
    }
}

fn read_terminal(editor: &mut Editor<Completion, DefaultHistory>, ask: Ask) -> Option<String> {
    if let Some(completion) = editor.helper_mut() {
        completion.client = Some(ask.client);
    }
    loop {
        match editor.readline(&ask.prompt) {
            Ok(line) => {
                if let Some(file) = history_file() {
                    // A history that cannot be kept keeps nobody from working.
                    let _ = editor.append_history(&file);
                }
                return Some(line);
            }
            // Ctrl-C takes back what was typed; Ctrl-D ends.
            Err(ReadlineError::Interrupted) => {}
            Err(_) => return None,
        }
    }
}

fn history_file() -> Option<PathBuf> {
    std::env::home_dir().map(|home| home.join(".zkcli_history"))
}

/// Completes commands and, behind a `/`, the paths of znodes. `JLineZNodeCompleter`.
struct Completion {
    runtime: Handle,
    client: Option<Client>,
}

impl Completer for Completion {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        cursor: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let typed = &line[..cursor];
        let start = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
        let word = &typed[start..];
        let candidates = match word.rfind('/') {
            Some(slash) if word.starts_with('/') => self.paths(word, slash),
            _ if typed[..start].trim().is_empty() => commands::names()
                .filter(|name| name.starts_with(word))
                .map(|name| format!("{name} "))
                .collect(),
            _ => Vec::new(),
        };
        Ok((start, candidates))
    }
}

impl Completion {
    fn paths(&self, word: &str, slash: usize) -> Vec<String> {
        let parent = &word[..slash];
        let Some(client) = self.client.as_ref().filter(|client| client.state().is_connected()) else {
            return Vec::new();
        };
        let listed = client.children(if parent.is_empty() { "/" } else { parent });
        let listed = async { tokio::time::timeout(COMPLETION_LIMIT, listed).await };
        let mut paths: Vec<_> = self.runtime.block_on(listed).ok().and_then(Result::ok).unwrap_or_default();
        paths.sort_unstable();
        paths
            .into_iter()
            .map(|child| format!("{parent}/{child}"))
            .filter(|path| path.starts_with(word))
            .collect()
    }
}

impl Helper for Completion {}
impl Highlighter for Completion {}
impl Validator for Completion {}
impl Hinter for Completion {
    type Hint = String;
}
