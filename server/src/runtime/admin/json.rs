//! JSON as the Java server's library lays it out: fields in the order they are put, ` : ` between key and value.

use std::fmt::Write;

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Json {
    Null,
    Flag(bool),
    Integer(i64),
    Real(f64),
    Text(String),
    List(Vec<Json>),
    Object(Object),
}

/// Fields in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Object(Vec<(String, Json)>);

impl Object {
    /// Adds a field, or changes it where it stands.
    pub(super) fn put(&mut self, key: impl Into<String>, value: impl Into<Json>) {
        let (key, value) = (key.into(), value.into());
        match self.0.iter_mut().find(|(known, _)| *known == key) {
            Some((_, slot)) => *slot = value,
            None => self.0.push((key, value)),
        }
    }

    /// Adds a field that is not there yet.
    pub(super) fn push(&mut self, key: impl Into<String>, value: impl Into<Json>) {
        self.0.push((key.into(), value.into()));
    }

    /// The same as [`Object::put`], for a chain.
    pub(super) fn with(mut self, key: impl Into<String>, value: impl Into<Json>) -> Self {
        self.put(key, value);
        self
    }

    pub(super) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|(known, _)| known == key)
    }
}

impl From<bool> for Json {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Json {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<u64> for Json {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<u128> for Json {
    fn from(number: u128) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

impl From<f64> for Json {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl From<&str> for Json {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Json {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Object> for Json {
    fn from(object: Object) -> Self {
        Self::Object(object)
    }
}

impl<T: Into<Json>> From<Vec<T>> for Json {
    fn from(list: Vec<T>) -> Self {
        Self::List(list.into_iter().map(Into::into).collect())
    }
}

impl Json {
    /// The text.
    pub(super) fn print(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, depth: usize) {
        match self {
            Self::Null => out.push_str("null"),
            Self::Flag(flag) => out.push_str(if *flag { "true" } else { "false" }),
            Self::Integer(number) => {
                let _ = write!(out, "{number}");
            }
            Self::Real(number) => out.push_str(&crate::runtime::java::double(*number)),
            Self::Text(text) => out.push_str(&quoted(text)),
            Self::List(list) if list.is_empty() => out.push_str("[ ]"),
            Self::List(list) => {
                for (index, value) in list.iter().enumerate() {
                    out.push_str(if index == 0 { "[ " } else { ", " });
                    value.write(out, depth);
                }
                out.push_str(" ]");
            }
            Self::Object(Object(fields)) if fields.is_empty() => out.push_str("{ }"),
            Self::Object(Object(fields)) => {
                for (index, (key, value)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "{\n" } else { ",\n" });
                    let _ = write!(out, "{:indent$}{} : ", "", quoted(key), indent = 2 * (depth + 1));
                    value.write(out, depth + 1);
                }
                let _ = write!(out, "\n{:indent$}}}", "", indent = 2 * depth);
            }
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_layout_is_that_of_java() {
        let inner = || Object::default().with("a", 1i64).with("b", 0.0);
        let json: Json = Object::default()
            .with("list", vec![inner(), inner()])
            .with("none", Json::Null)
            .with("numbers", vec![1i64, 2])
            .with("empty", Vec::<i64>::new())
            .with("object", Object::default())
            .with("text", "a\"b\n")
            .into();
        assert_eq!(
            json.print(),
            r#"{
  "list" : [ {
    "a" : 1,
    "b" : 0.0
  }, {
    "a" : 1,
    "b" : 0.0
  } ],
  "none" : null,
  "numbers" : [ 1, 2 ],
  "empty" : [ ],
  "object" : { },
  "text" : "a\"b\n"
}"#
        );
    }
}
