//! Where two servers' answers differ, and which differences are meant.

use super::{Step, Transcript};

/// A step that two servers are meant to answer differently. In its texts `*` stands for any text.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The scenario it belongs to.
    pub scenario: String,
    /// What is sent.
    pub sent: String,
    /// The first server's answer, without the lines at its beginning and its end in which both agree.
    pub first: Vec<String>,
    /// The second server's, in the same way.
    pub second: Vec<String>,
    /// Why that is right.
    pub reason: String,
}

/// A line that two servers are meant to write differently, wherever it occurs. `*` stands for any text.
#[derive(Debug, Clone, Copy)]
pub struct Wording {
    /// What the first server says.
    pub first: &'static str,
    /// What the second server says instead.
    pub second: &'static str,
    /// Why that is right.
    pub reason: &'static str,
}

/// All differences that are meant between two servers.
#[derive(Debug, Clone, Default)]
pub struct Meant {
    /// Whole steps.
    pub steps: Vec<Difference>,
    /// Single lines.
    pub wordings: Vec<Wording>,
}

/// Compares what two servers did with the same script.
///
/// # Panics
/// When they differ in anything but what is `meant`, and when something meant does not occur; the message shows each such
/// step.
pub fn assert_alike(first: &[Transcript], second: &[Transcript], meant: &Meant) {
    assert_eq!(first.len(), second.len(), "the same script was run");
    let mut comparison =
        Comparison { meant, met: vec![false; meant.steps.len()], count: 0, report: String::new() };
    for (first, second) in first.iter().zip(second) {
        assert_eq!(first.steps.len(), second.steps.len(), "{}: the same steps were taken", first.scenario);
        for (number, (one, other)) in first.steps.iter().zip(&second.steps).enumerate() {
            comparison.compare(first.scenario, number, one, other);
        }
    }
    comparison.conclude();
}

struct Comparison<'a> {
    meant: &'a Meant,
    /// Which of the steps that are meant to differ did.
    met: Vec<bool>,
    count: usize,
    report: String,
}

impl Comparison<'_> {
    fn compare(&mut self, scenario: &str, number: usize, one: &Step, other: &Step) {
        assert_eq!(one.sent, other.sent, "{scenario}, step {number}: the same is sent");
        let (agreed, first, second) = self.without_common_ends(&one.came, &other.came);
        if first.is_empty() && second.is_empty() {
            return;
        }
        let known = self.meant.steps.iter().position(|known| {
            known.scenario == scenario
                && matches(&known.sent, &one.sent)
                && all_match(&known.first, first)
                && all_match(&known.second, second)
        });
        match known {
            Some(known) => self.met[known] = true,
            None => {
                self.count += 1;
                show(
                    &mut self.report,
                    &format!("# step {number}, behind {agreed} lines in which both agree"),
                );
                show(&mut self.report, &format!("{scenario}: {}", one.sent));
                first.iter().for_each(|line| show(&mut self.report, &format!("- {line}")));
                second.iter().for_each(|line| show(&mut self.report, &format!("+ {line}")));
                show(&mut self.report, "");
            }
        }
    }

    fn conclude(mut self) {
        for (known, _) in self.meant.steps.iter().zip(&self.met).filter(|(_, met)| !**met) {
            self.count += 1;
            show(&mut self.report, &format!("meant, but not met: {known:#?}"));
        }
        assert!(self.count == 0, "{} differences:\n{}", self.count, self.report);
    }

    /// How many lines at the beginning are alike; and what is left without those and the ones at the end.
    fn without_common_ends<'t>(
        &self,
        mut one: &'t [String],
        mut other: &'t [String],
    ) -> (usize, &'t [String], &'t [String]) {
        let mut agreed = 0;
        while let ([first, rest @ ..], [second, others @ ..]) = (one, other)
            && self.alike(first, second)
        {
            (one, other) = (rest, others);
            agreed += 1;
        }
        while let ([rest @ .., first], [others @ .., second]) = (one, other)
            && self.alike(first, second)
        {
            (one, other) = (rest, others);
        }
        (agreed, one, other)
    }

    fn alike(&self, first: &str, second: &str) -> bool {
        let mut wordings = self.meant.wordings.iter();
        first == second || wordings.any(|known| matches(known.first, first) && matches(known.second, second))
    }
}

fn show(report: &mut String, line: &str) {
    report.push_str(line);
    report.push('\n');
}

fn all_match(patterns: &[String], lines: &[String]) -> bool {
    patterns.len() == lines.len() && patterns.iter().zip(lines).all(|(pattern, line)| matches(pattern, line))
}

/// `*` in `pattern` is any text.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| matches(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transcript(scenario: &'static str, came: &[&str]) -> Vec<Transcript> {
        let came = came.iter().map(|line| (*line).to_owned()).collect();
        vec![Transcript { scenario, steps: vec![Step { sent: "A GetData /x".to_owned(), came }] }]
    }

    fn meant() -> Meant {
        let lines = |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect();
        let difference = Difference {
            scenario: "reads".to_owned(),
            sent: "A GetData*".to_owned(),
            first: lines(&["reply err=0", "data *"]),
            second: lines(&["reply err=NoAuth"]),
            reason: "a test".to_owned(),
        };
        Meant { steps: vec![difference], ..Meant::default() }
    }

    #[test]
    fn what_is_meant_may_differ_between_what_is_common() {
        let first = transcript("reads", &["event", "reply err=0", "data 1"]);
        assert_alike(&first, &transcript("reads", &["event", "reply err=NoAuth"]), &meant());
    }

    #[test]
    #[should_panic(expected = "meant, but not met")]
    fn what_is_meant_must_occur() {
        let first = transcript("reads", &["reply err=0", "data 1"]);
        assert_alike(&first, &first, &meant());
    }

    #[test]
    #[should_panic(expected = "reads: A GetData /x")]
    fn more_than_what_is_meant_is_too_much() {
        let first = transcript("reads", &["reply err=0", "data 1"]);
        assert_alike(&first, &transcript("reads", &["reply err=NoAuth", "data 1"]), &meant());
    }

    #[test]
    #[should_panic(expected = "writes: A GetData /x")]
    fn what_is_meant_in_one_scenario_is_not_in_another() {
        let first = transcript("writes", &["reply err=0", "data 1"]);
        assert_alike(&first, &transcript("writes", &["reply err=NoAuth"]), &meant());
    }

    #[test]
    fn wordings_apply_everywhere() {
        let wording = Wording { first: "header zxid=-1", second: "header zxid=*", reason: "a test" };
        let meant = Meant { wordings: vec![wording], ..Meant::default() };
        let first = transcript("reads", &["header zxid=-1", "reply"]);
        assert_alike(&first, &transcript("reads", &["header zxid=7", "reply"]), &meant);
    }
}
