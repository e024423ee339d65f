//! A line of the shell, cut into words. `ZooKeeperMain.MyCommandOptions.parseCommand`.

/// The words of `line`: separated by blanks, or in single or double quotes.
///
/// There is no escaping. A quote within a word is part of it; one that opens a word and is never closed is skipped; after a
/// closing quote the next word begins, blank or none.
pub(crate) fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let (word, after) = match first {
            '"' | '\'' => match rest[1..].split_once(first) {
                Some((quoted, after)) => (Some(quoted), after),
                None => (None, &rest[1..]),
            },
            _ => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (Some(&rest[..end]), &rest[end..])
            }
        };
        words.extend(word.map(str::to_owned));
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_keep_blanks_and_may_be_empty() {
        assert_eq!(split("create /a \"b c\" 'd \" e'"), ["create", "/a", "b c", "d \" e"]);
        assert_eq!(split("  set /a ''  "), ["set", "/a", ""]);
    }

    #[test]
    fn a_quote_within_a_word_is_part_of_it() {
        assert_eq!(split("set /a mid\"quote"), ["set", "/a", "mid\"quote"]);
    }

    #[test]
    fn an_unclosed_quote_is_skipped_and_a_closed_one_ends_the_word() {
        assert_eq!(split("set /a \"b c"), ["set", "/a", "b", "c"]);
        assert_eq!(split("'a'b"), ["a", "b"]);
        assert!(split("   ").is_empty());
    }
}
