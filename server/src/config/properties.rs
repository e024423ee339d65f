//! The file format: `java.util.Properties`, with the line each key stands on.

/// One `key=value`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Property {
    /// Of the key's first character, counted from 1.
    pub(super) line: u32,
    pub(super) key: String,
    /// Without white space around it.
    pub(super) value: String,
}

/// Reads all properties in the order of the file, those given twice included.
///
/// A line ends a property unless it ends in an odd number of backslashes; `#` and `!` begin comments; `=`, `:`
/// or white space end a key.
///
/// # Errors
/// A `\u` that no four hex digits follow: its line.
pub(super) fn parse(text: &str) -> Result<Vec<Property>, u32> {
    let mut properties = Vec::new();
    let mut lines = text.lines().zip(1u32..);
    while let Some((first, line)) = lines.next() {
        let first = first.trim_start();
        if first.is_empty() || first.starts_with(['#', '!']) {
            continue;
        }
        let mut logical = first.to_owned();
        while ends_in_continuation(&logical) {
            logical.pop();
            match lines.next() {
                Some((more, _)) => logical.push_str(more.trim_start()),
                None => break,
            }
        }
        let (key, value) = split(&logical);
        let key = unescape(key).ok_or(line)?;
        let value = unescape(value).ok_or(line)?;
        properties.push(Property { line, key: key.trim().to_owned(), value: value.trim().to_owned() });
    }
    Ok(properties)
}

/// The text without the properties of these keys; all else stays as it is, and the last line is ended.
pub(crate) fn without_keys(text: &str, is_dropped: impl Fn(&str) -> bool) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut lines = text.lines();
    while let Some(first) = lines.next() {
        let begins = first.trim_start();
        let is_property = !begins.is_empty() && !begins.starts_with(['#', '!']);
        let is_kept = !(is_property && unescape(split(begins).0).is_some_and(|key| is_dropped(key.trim())));
        let mut line = Some(first);
        while let Some(part) = line {
            if is_kept {
                kept.push_str(part);
                kept.push('\n');
            }
            line = if is_property && ends_in_continuation(part) { lines.next() } else { None };
        }
    }
    kept
}

fn ends_in_continuation(line: &str) -> bool {
    line.bytes().rev().take_while(|&b| b == b'\\').count() % 2 == 1
}

/// Cuts at the first separator that no backslash hides.
fn split(line: &str) -> (&str, &str) {
    let mut escaped = false;
    for (at, c) in line.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == '=' || c == ':' || c.is_whitespace() {
            let rest = line[at..].trim_start();
            let value = rest.strip_prefix(['=', ':']).unwrap_or(rest);
            return (&line[..at], value.trim_start());
        }
    }
    (line, "")
}

fn unescape(text: &str) -> Option<String> {
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some('t') => plain.push('\t'),
            Some('n') => plain.push('\n'),
            Some('r') => plain.push('\r'),
            Some('f') => plain.push('\u{c}'),
            Some('u') => {
                let digits: String = chars.by_ref().take(4).collect();
                let code = u32::from_str_radix(&digits, 16).ok().filter(|_| digits.len() == 4)?;
                plain.push(char::from_u32(code)?);
            }
            Some(other) => plain.push(other),
            None => {}
        }
    }
    Some(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Line, key, value.
    type Pair = (u32, &'static str, &'static str);

    fn pairs(text: &str) -> Vec<(u32, String, String)> {
        parse(text).unwrap().into_iter().map(|p| (p.line, p.key, p.value)).collect()
    }

    #[test]
    fn every_separator_and_comment_of_java_properties_is_understood() {
        let table: &[(&str, &[Pair])] = &[
            ("a=b", &[(1, "a", "b")]),
            ("a:b", &[(1, "a", "b")]),
            ("a b", &[(1, "a", "b")]),
            ("  a  =  b c  ", &[(1, "a", "b c")]),
            ("a", &[(1, "a", "")]),
            ("# a=b\n! c=d\n\n  # e\nf=g", &[(5, "f", "g")]),
            ("a=b\\\n   c\nd=e", &[(1, "a", "bc"), (3, "d", "e")]),
            ("a=b\\\\\nc=d", &[(1, "a", "b\\"), (2, "c", "d")]),
            ("a\\=b=c", &[(1, "a=b", "c")]),
            ("a=h\\u00e9", &[(1, "a", "h\u{e9}")]),
            ("a=C:\\\\data", &[(1, "a", "C:\\data")]),
            ("server.1=h:1:2;3", &[(1, "server.1", "h:1:2;3")]),
            ("a=1\r\nb=2\r\n", &[(1, "a", "1"), (2, "b", "2")]),
            ("a=1\na=2", &[(1, "a", "1"), (2, "a", "2")]),
            ("a=\\", &[(1, "a", "")]),
        ];
        for (text, expected) in table {
            let expected: Vec<_> =
                expected.iter().map(|&(line, k, v)| (line, k.to_owned(), v.to_owned())).collect();
            assert_eq!(pairs(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_broken_escape_is_named_by_its_line() {
        assert_eq!(parse("a=b\nc=\\u12"), Err(2));
        assert_eq!(parse("c=\\ud800"), Err(1));
    }
}
