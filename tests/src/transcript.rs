//! What a program printed for each command, with all masked that may differ between two runs, and the difference of two.

use std::fmt;

/// One command and its output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What was asked.
    pub command: String,
    /// All that was printed for it.
    pub output: String,
}

/// A session, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Its commands.
    pub sections: Vec<Section>,
}

impl Transcript {
    /// The same transcript with each line of output passed through `mask`; lines for which it gives `None` are left out.
    pub fn masked(mut self, mask: impl Fn(&str) -> Option<String>) -> Self {
        for section in &mut self.sections {
            let lines: Vec<_> = section.output.lines().filter_map(&mask).collect();
            section.output = lines.join("\n");
        }
        self
    }

    /// The commands to which `other` shows another output, both outputs beneath each other.
    pub fn difference(&self, other: &Self) -> Option<String> {
        let mut report = String::new();
        let longer = self.sections.len().max(other.sections.len());
        for at in 0..longer {
            let (ours, theirs) = (self.sections.get(at), other.sections.get(at));
            if ours != theirs {
                report += &format!("--- one\n{}--- other\n{}", show(ours), show(theirs));
            }
        }
        (!report.is_empty()).then_some(report)
    }
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.sections.iter().try_for_each(|section| section.fmt(f))
    }
}

impl fmt::Display for Section {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "> {}", self.command)?;
        writeln!(f, "{}", self.output.trim_end_matches('\n'))
    }
}

fn show(section: Option<&Section>) -> String {
    section.map_or_else(|| "(nothing)\n".to_owned(), Section::to_string)
}

/// Masks the numbers after `label`, if `line` has it: `masked_after("czxid=1f", "czxid=")` is `czxid=#`.
///
/// Zero stays: whether an owner is none is not a matter of the run.
pub fn masked_after(line: &str, label: &str) -> Option<String> {
    let at = line.find(label)? + label.len();
    let (before, rest) = line.split_at(at);
    let number: &str = rest.strip_prefix("0x").unwrap_or(rest);
    let length = number.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(number.len());
    let (number, after) = number.split_at(length);
    let zero = number.chars().all(|c| c == '0');
    Some(if zero { line.to_owned() } else { format!("{before}#{after}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(sections: &[(&str, &str)]) -> Transcript {
        let section = |(command, output): &(&str, &str)| Section {
            command: (*command).to_owned(),
            output: (*output).to_owned(),
        };
        Transcript { sections: sections.iter().map(section).collect() }
    }

    #[test]
    fn a_difference_shows_only_the_commands_that_differ() {
        let one = transcript(&[("ls /", "[a]\n"), ("get /a", "x\n")]);
        let other = transcript(&[("ls /", "[a]\n"), ("get /a", "y\n")]);

        let difference = one.difference(&other).unwrap();

        assert_eq!(difference, "--- one\n> get /a\nx\n--- other\n> get /a\ny\n");
        assert_eq!(one.difference(&one), None);
    }

    #[test]
    fn a_mask_changes_and_drops_lines() {
        let noisy = transcript(&[("stat /a", "noise\ncZxid = 0x1f\nephemeralOwner = 0x0\n")]);

        let masked = noisy.masked(|line| {
            let line = (line != "noise").then_some(line)?;
            Some(masked_after(line, "Zxid = ").unwrap_or_else(|| line.to_owned()))
        });

        assert_eq!(masked, transcript(&[("stat /a", "cZxid = #\nephemeralOwner = 0x0")]));
    }

    #[test]
    fn zero_is_not_masked() {
        assert_eq!(masked_after("owner = 0x0", "owner = ").unwrap(), "owner = 0x0");
        assert_eq!(masked_after("owner = 1a2b, x", "owner = ").unwrap(), "owner = #, x");
    }
}
