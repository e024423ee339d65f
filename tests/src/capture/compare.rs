//! Where two servers' answers differ, and which differences are meant.

use std::fmt::Write as _;

use super::{Step, Transcript};

/// A difference that is meant. Lines match where `*` stands for any text.
#[derive(Debug, Clone, Copy)]
pub struct Difference {
    /// The step, or `*` for any.
    pub sent: &'static str,
    /// What the first server says.
    pub first: &'static str,
    /// What the second server says instead.
    pub second: &'static str,
    /// Why that is right.
    pub reason: &'static str,
}

/// Compares what two servers did with the same script.
///
/// # Panics
/// When they differ in anything but what `meant` lists; the message shows each such step.
pub fn assert_alike(first: &[Transcript], second: &[Transcript], meant: &[Difference]) {
    assert_eq!(first.len(), second.len(), "the same script was run");
    let mut message = String::new();
    let mut count = 0;
    for (first, second) in first.iter().zip(second) {
        assert_eq!(first.steps.len(), second.steps.len(), "{}: the same steps were taken", first.scenario);
        for (number, (one, other)) in first.steps.iter().zip(&second.steps).enumerate() {
            if !alike(one, other, meant) {
                count += 1;
                show(&mut message, first.scenario, number, one, other);
            }
        }
    }
    assert!(count == 0, "{count} steps differ:\n{message}");
}

fn alike(one: &Step, other: &Step, meant: &[Difference]) -> bool {
    one.sent == other.sent
        && one.came.len() == other.came.len()
        && one.came.iter().zip(&other.came).all(|(first, second)| {
            first == second
                || meant.iter().any(|known| {
                    matches(known.sent, &one.sent)
                        && matches(known.first, first)
                        && matches(known.second, second)
                })
        })
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

fn show(message: &mut String, scenario: &str, number: usize, one: &Step, other: &Step) {
    writeln!(message, "\n{scenario}, step {number}: {}", one.sent).expect("strings take all");
    if one.sent != other.sent {
        writeln!(message, "    second sent: {}", other.sent).expect("strings take all");
    }
    for index in 0..one.came.len().max(other.came.len()) {
        let first = one.came.get(index).map_or("nothing", String::as_str);
        let second = other.came.get(index).map_or("nothing", String::as_str);
        if first == second {
            writeln!(message, "      both: {first}").expect("strings take all");
        } else {
            writeln!(message, "     first: {first}\n    second: {second}").expect("strings take all");
        }
    }
}
