//! What the server counts: one [table](Metrics) of names, read by `mntr`, the admin server and Prometheus alike.
//!
//! Every thread that counts has [`Metrics`] of its own, so counting costs a load and a store on a line no other
//! thread writes. [`Registry`] knows them all and adds up when somebody asks. ZooKeeper's `ServerMetrics`.

mod process;
mod prometheus;
mod summary;
pub(crate) mod table;
mod traffic;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

pub use prometheus::Prometheus;
pub use summary::{Counter, Distribution, Keyed, Summary, four_decimals};
pub use table::{Gauges, Metrics, QuotaGauges};
pub use traffic::{Sizes, Traffic};

use table::{COUNTERS, KEYED, KEYED_COUNTERS, SUMMARIES};

/// One line of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// ZooKeeper's.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// What it counts.
    pub unit: Unit,
    /// One sentence.
    pub help: &'static str,
}

/// How a metric behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Goes up and down.
    Gauge,
    /// Goes up.
    Counter,
    /// Many values.
    Summary(Detail),
    /// Many values for each of many keys.
    Keyed(Detail),
}

/// How much of a summary `mntr` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// avg, min, max, cnt, sum
    Basic,
    /// and p50, p95, p99, p999
    Percentiles,
}

/// What a metric counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Things.
    Count,
    /// Time.
    Milliseconds,
    /// Memory, traffic.
    Bytes,
}

/// A value as `mntr` shows it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// Without a fraction.
    Integer(i64),
    /// With one, even if it is 0.
    Real(f64),
}

impl From<i64> for Number {
    fn from(number: i64) -> Self {
        Self::Integer(number)
    }
}

impl From<f64> for Number {
    fn from(number: f64) -> Self {
        Self::Real(four_decimals(number))
    }
}

impl From<u64> for Number {
    fn from(number: u64) -> Self {
        Self::Integer(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// All threads' metrics.
#[derive(Debug, Default)]
#[doc(alias = "ServerMetrics")]
pub struct Registry(Mutex<Vec<Arc<Metrics>>>);

impl Registry {
    /// Metrics for one more thread.
    #[must_use]
    pub fn thread(&self) -> Arc<Metrics> {
        let metrics = Arc::<Metrics>::default();
        self.0.lock().push(Arc::clone(&metrics));
        metrics
    }

    /// Sets everything back to nothing, as `srst` asks. What threads record meanwhile may be lost.
    pub fn reset(&self) {
        for metrics in &*self.0.lock() {
            COUNTERS.iter().for_each(|(_, of)| of(metrics).reset());
            SUMMARIES.iter().for_each(|(_, of)| of(metrics).reset());
            KEYED.iter().chain(KEYED_COUNTERS).for_each(|(_, of)| of(metrics).reset());
        }
    }

    /// A counter over all threads.
    #[must_use]
    pub fn sum(&self, of: impl Fn(&Metrics) -> &Counter) -> u64 {
        self.0.lock().iter().map(|metrics| of(metrics).value()).sum()
    }

    /// A summary over all threads.
    #[must_use]
    pub fn distribution(&self, of: impl Fn(&Metrics) -> &Summary) -> Distribution {
        let mut total = Distribution::default();
        self.0.lock().iter().for_each(|metrics| of(metrics).add_to(&mut total));
        total
    }

    fn by_key(&self, of: impl Fn(&Metrics) -> &Keyed) -> BTreeMap<String, Distribution> {
        let mut totals = BTreeMap::new();
        self.0.lock().iter().for_each(|metrics| of(metrics).add_to(&mut totals));
        totals
    }

    /// Everything as `mntr` and the admin server name it, gauges first.
    #[must_use]
    pub fn dump(&self, gauges: &Gauges) -> Vec<(String, Number)> {
        let mut lines: Vec<(String, Number)> =
            gauges.all().filter_map(|(metric, number)| Some((metric.name.to_owned(), number?))).collect();
        for (metric, namespace, number) in gauges.by_namespace() {
            lines.push((format!("{namespace}_{}", metric.name), number));
        }
        for (metric, of) in COUNTERS {
            lines.push((metric.name.to_owned(), self.sum(of).into()));
        }
        for (metric, of) in KEYED_COUNTERS {
            for (key, distribution) in self.by_key(of) {
                lines.push((format!("{key}_{}", metric.name), distribution.count.into()));
            }
        }
        for (metric, of) in SUMMARIES {
            dump_summary(metric.name, metric.kind, &self.distribution(of), &mut lines);
        }
        for (metric, of) in KEYED {
            for (key, distribution) in self.by_key(of) {
                dump_summary(&format!("{key}_{}", metric.name), metric.kind, &distribution, &mut lines);
            }
        }
        lines
    }
}

fn dump_summary(name: &str, kind: Kind, of: &Distribution, lines: &mut Vec<(String, Number)>) {
    let mut line = |what: &str, number: Number| lines.push((format!("{what}_{name}"), number));
    line("avg", of.average().into());
    line("min", of.min.into());
    line("max", of.max.into());
    line("cnt", of.count.into());
    line("sum", of.sum.into());
    if matches!(kind, Kind::Summary(Detail::Percentiles) | Kind::Keyed(Detail::Percentiles)) {
        for (what, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
            line(what, of.percentile(per_mille).into());
        }
    }
}
