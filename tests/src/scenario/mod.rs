//! Scenarios: text files that tell a piece of the server's behaviour, and are run.
//!
//! ```text
//! # What a reader should know.
//! > a: create /greeting hello
//! zk <- Write a#1 Create /greeting "hello"
//! zk -> Append 0x2 Create /greeting "hello" for a#1
//! ```
//!
//! A line that begins with `>` is a command: somebody, then what she does (`a: get -w /greeting`), or what happens to the world
//! (`wait 3 s`). Commands without a blank line between them arrive together, as one batch. The lines beneath are the exact
//! trace: which server, an arrow, and an [`Event`](server::node::Event) on its way in, an [`Action`](server::node::Action) on its
//! way out, or, without an arrow, what the rim does in between. Everything else is told to the reader.
//!
//! The production [`Node`](server::node::Node), tree, watches, reads and gate are what runs; time stands still except for `wait`.
//! With `SCENARIOS=rewrite` in the environment the traces are written anew, to be read in the diff.

mod command;
mod trace;
mod world;

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, ensure};

use self::world::World;

/// Runs the scenario in `file`, and compares the trace with what is written there; or writes it, if `rewrite`.
///
/// # Errors
/// When the trace is another one, a command makes no sense, or the file can't be read or written.
pub fn run(file: &Path, rewrite: bool) -> Result<()> {
    let written = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    let traced = retraced(&written).with_context(|| file.display().to_string())?;
    if rewrite {
        return fs::write(file, traced).with_context(|| file.display().to_string());
    }
    let line = written.lines().zip(traced.lines()).position(|(written, traced)| written != traced);
    let line = line.unwrap_or_else(|| written.lines().count().min(traced.lines().count()));
    ensure!(
        written == traced,
        "{}, line {}: it goes\n  {}\nwhere the file says\n  {}\nIf that is as it should be: SCENARIOS=rewrite",
        file.display(),
        line + 1,
        traced.lines().nth(line).unwrap_or("(no more)"),
        written.lines().nth(line).unwrap_or("(no more)"),
    );
    Ok(())
}

/// The same text, with the traces as they are.
fn retraced(text: &str) -> Result<String> {
    let mut world = World::new();
    let mut out = String::new();
    let mut lines = text.lines().enumerate().peekable();
    while let Some((at, line)) = lines.next() {
        if is_trace(line) {
            continue; // Written anew.
        }
        out += line;
        out += "\n";
        let Some(command) = line.strip_prefix('>') else { continue };
        let on_line = || format!("line {}: {line}", at + 1);
        world.arrive(command::parse(command.trim()).with_context(on_line)?).with_context(on_line)?;
        if !lines.peek().is_some_and(|(_, next)| next.starts_with('>')) {
            for line in world.settle() {
                out += &line;
                out += "\n";
            }
        }
    }
    Ok(out)
}

fn is_trace(line: &str) -> bool {
    !(line.is_empty() || line.starts_with(['#', '>']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_written_beneath_its_command_and_nothing_else_is_touched() {
        let text = "# Why.\n\n> a: connect\nzk <- something stale\n\n# The end.\n";
        let traced = retraced(text).unwrap();
        assert!(traced.starts_with("# Why.\n\n> a: connect\nzk <- OpenSession a, 10000 ms\n"), "{traced}");
        assert!(traced.ends_with("\n\n# The end.\n") && !traced.contains("stale"), "{traced}");
        assert_eq!(retraced(&traced).unwrap(), traced);
    }

    #[test]
    fn a_trace_that_differs_is_told_with_its_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "> a: connect\nzk <- OpenSession b, 10000 ms\n").unwrap();
        let told = run(file.path(), false).unwrap_err().to_string();
        assert!(told.contains("line 2: it goes\n  zk <- OpenSession a, 10000 ms"), "{told}");
    }

    #[test]
    fn a_command_that_makes_no_sense_is_told_with_its_line() {
        for (text, why) in [
            ("> a: create\n", "no path"),
            ("> a: fly /\n", "no command"),
            ("> a: get /\n", "has no session"),
            ("> wait long\n", "no number"),
        ] {
            let told = format!("{:#}", retraced(text).unwrap_err());
            assert!(told.contains("line 1") && told.contains(why), "{told}");
        }
    }
}
