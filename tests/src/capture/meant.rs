//! The differences that are meant. They stand in two texts beside this one, in the form in which a comparison shows what
//! it found: `scenario: what was sent`, then the first server's lines behind `- ` and the second one's behind `+ `, without those
//! at both ends in which they agree. `*` stands for any text. A comment is the reason for all steps up to the next one.

use super::compare::{Difference, Meant, Wording};

/// Where ours is unlike any Java server, by choice.
const CHOSEN: &str = include_str!("meant/chosen.txt");

/// Where ours follows 3.9 and the peer is a 3.8. Run against a 3.9 (see [`peer`](crate::peer)), the test shows that these,
/// and only these, are 3.9's.
const SINCE_3_9: &str = include_str!("meant/since_3_9.txt");

/// The same for lines.
const WORDED_SINCE_3_9: &[Wording] = &[Wording {
    first: "  event header zxid=-1 err=0",
    second: "  event header zxid=* err=0",
    reason: "ZOOKEEPER-4655: a notification carries the zxid of the txn that it is about",
}];

/// What ours may answer differently from the Java server whose answer to the word `srvr` this is.
pub fn against(srvr: &str) -> Meant {
    let mut meant = Meant { steps: parse(CHOSEN), wordings: Vec::new() };
    if srvr.starts_with("Zookeeper version: 3.8.") {
        meant.steps.extend(parse(SINCE_3_9));
        meant.wordings.extend(WORDED_SINCE_3_9);
    }
    meant
}

fn parse(text: &str) -> Vec<Difference> {
    let mut steps: Vec<Difference> = Vec::new();
    let mut reason = String::new();
    let mut in_comment = false;
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(comment) = line.strip_prefix("# ") {
            if !std::mem::replace(&mut in_comment, true) {
                reason.clear();
            }
            reason.push_str(comment);
            reason.push(' ');
            continue;
        }
        in_comment = false;
        match (line.strip_prefix("- "), line.strip_prefix("+ "), steps.last_mut()) {
            (Some(first), _, Some(step)) => step.first.push(first.to_owned()),
            (_, Some(second), Some(step)) => step.second.push(second.to_owned()),
            _ => {
                let (scenario, sent) = line.split_once(": ").expect("`scenario: sent`");
                let (scenario, sent, reason) =
                    (scenario.to_owned(), sent.to_owned(), reason.trim().to_owned());
                steps.push(Difference { scenario, sent, first: vec![], second: vec![], reason });
            }
        }
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_goes_with_all_steps_up_to_the_next() {
        let steps = parse(
            "# Why,\n# at length.\nreads: A asks\n- one\n- two\n+ three\n\nreads: B asks\n+ four\n# Else.\nx: y\n",
        );
        let told: Vec<_> = steps
            .iter()
            .map(|step| (&*step.sent, step.first.join(","), step.second.join(","), &*step.reason))
            .collect();
        assert_eq!(
            told,
            [
                ("A asks", "one,two".to_owned(), "three".to_owned(), "Why, at length."),
                ("B asks", String::new(), "four".to_owned(), "Why, at length."),
                ("y", String::new(), String::new(), "Else."),
            ]
        );
    }

    #[test]
    fn every_difference_has_its_reason() {
        let steps = [parse(CHOSEN), parse(SINCE_3_9)].concat();
        assert!(steps.iter().all(|step| !step.reason.is_empty() && step.first != step.second));
    }
}
