//! A command's options and arguments, read by the rules of commons-cli's `DefaultParser`, down to its messages.

use crate::failure::Failure;

/// An option that a command knows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Opt {
    /// Its name, without the hyphen.
    pub(crate) name: &'static str,
    /// The next word belongs to it.
    pub(crate) takes_value: bool,
    /// What it is for.
    pub(crate) about: &'static str,
}

impl Opt {
    pub(crate) const fn flag(name: &'static str, about: &'static str) -> Self {
        Self { name, takes_value: false, about }
    }

    pub(crate) const fn value(name: &'static str, about: &'static str) -> Self {
        Self { name, takes_value: true, about }
    }
}

/// How many of its options a command takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Choice {
    /// As many as are given.
    Any,
    /// One or none.
    AtMostOne,
    /// Exactly one.
    One,
}

/// A command's words, sorted out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Arguments {
    options: Vec<(&'static str, Option<String>)>,
    /// What is not an option; the command itself comes first.
    pub(crate) words: Vec<String>,
}

impl Arguments {
    pub(crate) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option, the first if it was given several times.
    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.options.iter().find(|(given, _)| *given == name)?.1.as_deref()
    }

    /// The first argument behind the command.
    pub(crate) fn path(&self) -> &str {
        self.words.get(1).map_or("", String::as_str)
    }
}

/// Sorts out `words`, of which the first is the command.
pub(crate) fn parse(known: &'static [Opt], choice: Choice, words: &[String]) -> Result<Arguments, Failure> {
    let mut parser = Parser { known, choice, open: None, parsed: Arguments::default() };
    let mut words = words.iter();
    for word in words.by_ref() {
        if word == "--" {
            break;
        }
        parser.word(word)?;
    }
    parser.parsed.words.extend(words.cloned());
    parser.close_open_option()?;
    if choice == Choice::One && parser.parsed.options.is_empty() {
        return Err(refused("MissingOption", format!("Missing required option: [{}]", list(known))));
    }
    Ok(parser.parsed)
}

struct Parser {
    known: &'static [Opt],
    choice: Choice,
    /// The option that still waits for its value.
    open: Option<&'static str>,
    parsed: Arguments,
}

impl Parser {
    fn word(&mut self, word: &str) -> Result<(), Failure> {
        if self.open.is_some() && self.is_argument(word) {
            self.fill_open_option(unquoted(word));
            return Ok(());
        }
        match word.strip_prefix('-') {
            None | Some("") => {
                self.parsed.words.push(word.to_owned());
                Ok(())
            }
            Some(name) if name.starts_with('-') => Err(unrecognized(word)),
            Some(name) => self.option(word, name),
        }
    }

    fn option(&mut self, word: &str, name: &str) -> Result<(), Failure> {
        if let Some((name, value)) = name.split_once('=') {
            let Some(opt) = self.find(name).filter(|opt| opt.takes_value) else {
                return Err(unrecognized(word));
            };
            self.open_option(opt)?;
            self.fill_open_option(value);
            return Ok(());
        }
        match self.find(name) {
            Some(opt) => self.open_option(opt),
            None => self.joined_options(word, name),
        }
    }

    /// `-sw`, and `-v5`.
    fn joined_options(&mut self, word: &str, names: &str) -> Result<(), Failure> {
        for (at, name) in names.char_indices() {
            let rest = &names[at + name.len_utf8()..];
            let opt = self.find(name.encode_utf8(&mut [0; 4])).ok_or_else(|| unrecognized(word))?;
            self.open_option(opt)?;
            if opt.takes_value && !rest.is_empty() {
                self.fill_open_option(rest);
                return Ok(());
            }
        }
        Ok(())
    }

    fn open_option(&mut self, opt: Opt) -> Result<(), Failure> {
        self.close_open_option()?;
        let other = self.parsed.options.iter().map(|(name, _)| *name).find(|name| *name != opt.name);
        if let (false, Some(other)) = (self.choice == Choice::Any, other) {
            let message = format!(
                "The option '{}' was specified but an option from this group has already been selected: '{other}'",
                opt.name
            );
            return Err(refused("AlreadySelected", message));
        }
        self.parsed.options.push((opt.name, None));
        self.open = opt.takes_value.then_some(opt.name);
        Ok(())
    }

    fn fill_open_option(&mut self, value: &str) {
        if let Some((_, slot)) = self.parsed.options.last_mut() {
            *slot = Some(value.to_owned());
        }
        self.open = None;
    }

    fn close_open_option(&mut self) -> Result<(), Failure> {
        match self.open.take() {
            Some(name) => Err(refused("MissingArgument", format!("Missing argument for option: {name}"))),
            None => Ok(()),
        }
    }

    /// A word that can be an option's value: not an option that is known, or a negative number.
    fn is_argument(&self, word: &str) -> bool {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else { return true };
        let name = name.split('=').next().unwrap_or(name);
        let first = name.chars().next().map(String::from).unwrap_or_default();
        let is_option = self.find(name).is_some() || self.find(&first).is_some();
        !is_option || word.parse::<f64>().is_ok()
    }

    fn find(&self, name: &str) -> Option<Opt> {
        self.known.iter().find(|opt| opt.name == name).copied()
    }
}

fn unquoted(word: &str) -> &str {
    let inner = word.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
    inner.filter(|inner| !inner.contains('"')).unwrap_or(word)
}

fn unrecognized(word: &str) -> Failure {
    refused("UnrecognizedOption", format!("Unrecognized option: {word}"))
}

/// Scripts see the exception's full name, for the shell prints a cause's `toString`.
fn refused(exception: &str, message: String) -> Failure {
    Failure::new(format!("org.apache.commons.cli.{exception}Exception: {message}"))
}

fn list(known: &[Opt]) -> String {
    let all: Vec<_> = known.iter().map(|opt| format!("-{} {}", opt.name, opt.about)).collect();
    all.join(", ")
}

/// A table of options with what they are for. `HelpFormatter.printOptions`.
pub(crate) fn explain(known: &[Opt]) -> String {
    let mut known = known.to_vec();
    known.sort_by_key(|opt| opt.name.to_lowercase());
    let left = |opt: &Opt| format!(" -{}{}", opt.name, if opt.takes_value { " <arg>" } else { "" });
    let width = known.iter().map(|opt| left(opt).len()).max().unwrap_or(0);
    known.iter().map(|opt| format!("{:width$}   {}\n", left(opt), opt.about)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: &[Opt] = &[Opt::flag("s", "stat"), Opt::flag("w", "watch"), Opt::value("v", "version")];

    fn parsed(line: &str) -> Result<Arguments, String> {
        parse(KNOWN, Choice::Any, &crate::words::split(line)).map_err(|failure| failure.message)
    }

    #[test]
    fn options_stand_anywhere_and_may_be_joined() {
        let arguments = parsed("get /a -sw -v5 b").unwrap();

        assert!(arguments.has("s") && arguments.has("w"));
        assert_eq!(arguments.value("v"), Some("5"));
        assert_eq!(arguments.words, ["get", "/a", "b"]);
    }

    #[test]
    fn a_negative_number_is_a_value_but_not_an_argument() {
        assert_eq!(parsed("set -v -1 /a").unwrap().value("v"), Some("-1"));
        assert_eq!(
            parsed("set /a -1").unwrap_err(),
            "org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: -1"
        );
    }

    #[test]
    fn behind_two_hyphens_all_are_arguments() {
        assert_eq!(parsed("set -- /a -s").unwrap().words, ["set", "/a", "-s"]);
    }

    #[test]
    fn a_value_must_not_be_missing() {
        let missing = "org.apache.commons.cli.MissingArgumentException: Missing argument for option: v";
        assert_eq!(parsed("set /a -v").unwrap_err(), missing);
        assert_eq!(parsed("set -v -s /a").unwrap_err(), missing);
    }

    #[test]
    fn of_a_group_only_one_may_be_chosen() {
        let words = crate::words::split("setquota -s -w /a");
        let failure = parse(KNOWN, Choice::One, &words).unwrap_err();

        assert_eq!(
            failure.message,
            "org.apache.commons.cli.AlreadySelectedException: The option 'w' was specified but an option from this \
             group has already been selected: 's'"
        );
    }
}
