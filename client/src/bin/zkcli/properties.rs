//! A Java client's settings, in the properties file that `-client-configuration` names. `ZKClientConfig`.

use std::time::Duration;

use anyhow::{Context, Result, bail};

/// What of them concerns this shell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// `zookeeper.request.timeout`, unless it is 0.
    pub(crate) request_timeout: Option<Duration>,
    /// `jute.maxbuffer`
    pub(crate) reply_bytes_max: Option<usize>,
    /// What the file asks for in vain, a sentence each.
    pub(crate) warnings: Vec<String>,
}

/// Reads the text of a properties file.
///
/// # Errors
/// When a value makes no sense, or the file asks for what would not be safe to leave out.
pub(crate) fn read(text: &str) -> Result<Settings> {
    let mut settings = Settings::default();
    for (key, value) in text.lines().filter_map(property) {
        settings.set(key, value).with_context(|| format!("{key}={value}"))?;
    }
    Ok(settings)
}

impl Settings {
    fn set(&mut self, key: &str, value: &str) -> Result<()> {
        match key {
            "zookeeper.request.timeout" => {
                let millis: u64 = value.parse().context("not a number of milliseconds")?;
                self.request_timeout = (millis > 0).then(|| Duration::from_millis(millis));
            }
            "jute.maxbuffer" => {
                self.reply_bytes_max = Some(value.parse().context("not a number of bytes")?);
            }
            "zookeeper.client.secure" if is_true(value) => bail!("this shell cannot connect over TLS yet"),
            // Without TLS these mean nothing to Java's client either, and how it does I/O is its own affair.
            "zookeeper.client.secure" | "zookeeper.clientCnxnSocket" => {}
            _ if key.starts_with("zookeeper.ssl.") => {}
            "zookeeper.sasl.client" | "zookeeper.disableAutoWatchReset" if !is_true(value) => {}
            "zookeeper.sasl.client" | "zookeeper.server.principal" | "zookeeper.server.realm" => {
                self.warnings.push(format!("{key}: this shell cannot authenticate by SASL yet"));
            }
            "zookeeper.disableAutoWatchReset" => {
                self.warnings
                    .push(format!("{key}: watches are brought along to the next server all the same"));
            }
            _ => self.warnings.push(format!("{key}: has no meaning for this shell")),
        }
        Ok(())
    }
}

fn is_true(value: &str) -> bool {
    value.eq_ignore_ascii_case("true")
}

/// Key and value of a line, with `=`, `:` or a blank between.
pub(crate) fn property(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with(['#', '!']) {
        return None;
    }
    let end = line.find(|c: char| matches!(c, '=' | ':') || c.is_whitespace()).unwrap_or(line.len());
    let (key, rest) = line.split_at(end);
    let rest = rest.trim_start();
    Some((key, rest.strip_prefix(['=', ':']).unwrap_or(rest).trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_java_clients_file_is_understood() {
        let settings = read(
            "# a comment\n! another\n\nzookeeper.request.timeout = 1500\njute.maxbuffer:4194304\n\
             zookeeper.client.secure false\nzookeeper.ssl.trustStore.location=/trust.jks\n\
             zookeeper.clientCnxnSocket=org.apache.zookeeper.ClientCnxnSocketNetty\nzookeeper.sasl.client=false\n",
        )
        .unwrap();
        let request_timeout = Some(Duration::from_millis(1500));
        let reply_bytes_max = Some(4_194_304);
        assert_eq!(settings, Settings { request_timeout, reply_bytes_max, warnings: Vec::new() });
        assert_eq!(read("zookeeper.request.timeout=0").unwrap(), Settings::default());
    }

    #[test]
    fn what_a_file_asks_for_in_vain_is_said() {
        let settings =
            read("zookeeper.sasl.client=true\nzookeeper.sasl.kind=x\nzookeeper.disableAutoWatchReset=TRUE");
        let warnings = settings.unwrap().warnings;
        assert!(warnings[0].starts_with("zookeeper.sasl.client: this shell cannot authenticate by SASL"));
        assert_eq!(warnings[1], "zookeeper.sasl.kind: has no meaning for this shell");
        assert!(warnings[2].starts_with("zookeeper.disableAutoWatchReset:"));
    }

    #[test]
    fn a_file_that_cannot_be_followed_is_refused() {
        for (text, why) in [
            ("zookeeper.client.secure=true", "TLS"),
            ("zookeeper.request.timeout=soon", "not a number of milliseconds"),
            ("jute.maxbuffer=-1", "not a number of bytes"),
        ] {
            let refused = format!("{:#}", read(text).unwrap_err());
            assert!(refused.starts_with(text) && refused.contains(why), "{refused}");
        }
    }
}
