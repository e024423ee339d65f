//! The shell's own options, before the command. `ZooKeeperMain.MyCommandOptions.parseOptions`.

use std::fs;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::properties;

/// How the shell was called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Options {
    /// Where to connect, with a chroot perhaps.
    pub(crate) server: String,
    /// The session's timeout, and how long a command waits for a connection.
    pub(crate) timeout: Duration,
    pub(crate) read_only: bool,
    pub(crate) wait_for_connection: bool,
    pub(crate) request_timeout: Option<Duration>,
    pub(crate) reply_bytes_max: Option<usize>,
    pub(crate) help: bool,
    /// The command to run instead of a session.
    pub(crate) command: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            server: "localhost:2181".to_owned(),
            timeout: Duration::from_secs(30),
            read_only: false,
            wait_for_connection: false,
            request_timeout: None,
            reply_bytes_max: None,
            help: false,
            command: Vec::new(),
        }
    }
}

impl Options {
    /// Reads the arguments: options up to the first word that is none, which begins the command. Unknown options are
    /// ignored, as ZooKeeper's shell does; one whose value is missing is told on stderr, and ends the reading.
    ///
    /// # Errors
    /// When a value makes no sense.
    pub(crate) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self> {
        let mut options = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            if !argument.starts_with('-') {
                options.command = [argument].into_iter().chain(arguments).collect();
                break;
            }
            let takes_value = matches!(argument.as_str(), "-server" | "-timeout" | "-client-configuration");
            let value = if takes_value { arguments.next() } else { Some(String::new()) };
            let Some(value) = value else {
                eprintln!("Error: no argument found for option {argument}");
                break;
            };
            options.set(&argument, value)?;
        }
        Ok(options)
    }

    fn set(&mut self, option: &str, value: String) -> Result<()> {
        match option {
            "-server" => self.server = value,
            "-timeout" => {
                let millis = value
                    .parse()
                    .with_context(|| format!("-timeout {value:?}: not a number of milliseconds"))?;
                self.timeout = Duration::from_millis(millis);
            }
            "-client-configuration" => self.read_configuration(&value)?,
            "-r" => self.read_only = true,
            "-waitforconnection" => self.wait_for_connection = true,
            "-h" | "-help" | "--help" => self.help = true,
            _ => {}
        }
        Ok(())
    }

    /// A Java client's settings.
    fn read_configuration(&mut self, file: &str) -> Result<()> {
        let named = || format!("-client-configuration {file}");
        let text = fs::read_to_string(file).with_context(named)?;
        let settings = properties::read(&text).with_context(named)?;
        self.request_timeout = settings.request_timeout;
        self.reply_bytes_max = settings.reply_bytes_max;
        for warning in settings.warnings {
            eprintln!("{file}: {warning}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Options {
        Options::parse(line.split(' ').map(str::to_owned)).unwrap()
    }

    #[test]
    fn the_first_word_that_is_no_option_begins_the_command() {
        let options = parse("-server h:1/app -r -timeout 5000 -unknown ls -R /");

        assert_eq!(options.server, "h:1/app");
        assert_eq!(options.timeout, Duration::from_secs(5));
        assert!(options.read_only);
        assert_eq!(options.command, ["ls", "-R", "/"]);
    }

    #[test]
    fn an_option_without_its_value_ends_the_reading() {
        assert_eq!(parse("-server"), Options::default());
    }
}
