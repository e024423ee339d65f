//! What was measured, as a table for people or JSON for scripts.

use hdrhistogram::Histogram;
use serde_json::{Map, Value};

/// Named values in the order in which they should be read.
#[derive(Debug, Default)]
pub(crate) struct Report {
    rows: Vec<(&'static str, Value)>,
}

impl Report {
    /// Adds a row.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.rows.push((name, value.into()));
        self
    }

    /// Adds a row, its value rounded to what can be believed.
    pub(crate) fn with_number(self, name: &'static str, value: f64) -> Self {
        let rounded = if value.abs() >= 100.0 { value.round() } else { (value * 1000.0).round() / 1000.0 };
        self.with(name, rounded)
    }

    /// Adds a latency distribution, recorded in nanoseconds and shown in microseconds.
    pub(crate) fn with_latency(self, name: &'static str, nanos: &Histogram<u64>) -> Self {
        let micros = |nanos: u64| (nanos / 100) as f64 / 10.0;
        let mut row = Map::new();
        row.insert("mean".into(), ((nanos.mean() / 100.0).round() / 10.0).into());
        for (label, quantile) in [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)] {
            row.insert(label.into(), micros(nanos.value_at_quantile(quantile)).into());
        }
        row.insert("max".into(), micros(nanos.max()).into());
        self.with(name, row)
    }

    /// One JSON object on one line.
    pub(crate) fn print_json(&self) {
        let object: Map<String, Value> =
            self.rows.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
        println!("{}", Value::Object(object));
    }

    /// A line a row.
    pub(crate) fn print_table(&self) {
        for (name, value) in &self.rows {
            println!("{name:<22} {}", plain(value));
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key} {}", plain(value))).collect();
            if pairs.is_empty() { "none".to_owned() } else { pairs.join("  ") }
        }
        other => other.to_string(),
    }
}

/// A histogram of nanoseconds up to ten minutes, to three digits.
pub(crate) fn nanos_histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 600_000_000_000, 3).expect("the bounds are in order")
}
