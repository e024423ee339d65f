//! The metrics in Prometheus' text format, under the names and types that ZooKeeper's provider gives them.
//!
//! Nothing of it runs until somebody scrapes: then counters and gauges are handed to the exporter as they are, and
//! of each summary the values that came since the last time, bucket by bucket.

use std::collections::{BTreeMap, BTreeSet};

use metrics::{Key, KeyName, Label, Level, Metadata, Recorder, Unit as MetricsUnit};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle, PrometheusRecorder};
use parking_lot::Mutex;

use super::summary::value_of;
use super::table::{COUNTERS, KEYED, KEYED_COUNTERS, SUMMARIES};
use super::{Distribution, Gauges, Metric, Number, Registry, Unit, process};

/// An exporter of its own: nothing is registered globally.
#[doc(alias = "PrometheusMetricsProvider")]
pub struct Prometheus {
    recorder: PrometheusRecorder,
    handle: PrometheusHandle,
    /// What the exporter was given before, per summary and key.
    published: Mutex<BTreeMap<(&'static str, String), Distribution>>,
    /// Gauges that were there before. They cannot be taken back, only be no number.
    shown: Mutex<BTreeSet<&'static str>>,
    /// Besides the server, the process is shown.
    shows_process: bool,
}

impl std::fmt::Debug for Prometheus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Prometheus").finish_non_exhaustive()
    }
}

const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, None);
/// The label of keyed summaries.
const KEY_LABEL: &str = "key";

impl Prometheus {
    /// `shows_process` adds the `process_*` family, which Java's provider has as well.
    #[must_use]
    pub fn new(shows_process: bool) -> Self {
        let builder = PrometheusBuilder::new().set_quantiles(&QUANTILES);
        let recorder = builder.expect("the quantiles are some").build_recorder();
        let (published, shown) = (Mutex::default(), Mutex::default());
        let this = Self { handle: recorder.handle(), recorder, published, shown, shows_process };
        this.describe();
        this
    }

    /// The page that a scrape gets.
    #[must_use]
    pub fn render(&self, registry: &Registry, gauges: &Gauges) -> String {
        for (metric, number) in gauges.all() {
            if number.is_some() {
                self.shown.lock().insert(metric.name);
            } else if !self.shown.lock().contains(metric.name) {
                continue;
            }
            let number = number.map_or(f64::NAN, real);
            self.recorder.register_gauge(&key(&metric, ""), &METADATA).set(number);
        }
        for (metric, namespace, number) in gauges.by_namespace() {
            self.recorder.register_gauge(&key(metric, namespace), &METADATA).set(real(number));
        }
        for (metric, of) in COUNTERS {
            self.recorder.register_counter(&key(metric, ""), &METADATA).absolute(registry.sum(of));
        }
        for (metric, of) in KEYED_COUNTERS {
            for (name, distribution) in registry.by_key(of) {
                self.recorder.register_counter(&key(metric, &name), &METADATA).absolute(distribution.count);
            }
        }
        for (metric, of) in SUMMARIES {
            self.publish(metric, "", registry.distribution(of));
        }
        for (metric, of) in KEYED {
            for (name, distribution) in registry.by_key(of) {
                self.publish(metric, &name, distribution);
            }
        }
        self.handle.run_upkeep();
        let mut page = self.handle.render();
        if self.shows_process {
            process::append(&mut page);
        }
        page
    }

    /// Gives the exporter what is new of a summary.
    fn publish(&self, metric: &Metric, name: &str, now: Distribution) {
        let histogram = self.recorder.register_histogram(&key(metric, name), &METADATA);
        let mut published = self.published.lock();
        let before = published.entry((metric.name, name.to_owned())).or_default();
        for (&index, &n) in &now.buckets {
            // After a reset there is less than before: then all of it is new.
            let known = before.buckets.get(&index).copied().filter(|known| *known <= n).unwrap_or(0);
            let new = usize::try_from(n - known).unwrap_or(usize::MAX);
            if new > 0 {
                histogram.record_many(real(value_of(index).into()), new);
            }
        }
        *before = now;
    }

    fn describe(&self) {
        let recorder = &self.recorder;
        for (metric, _) in Gauges::default().all() {
            recorder.describe_gauge(KeyName::from(metric.name), unit(&metric), metric.help.into());
        }
        for (metric, _) in COUNTERS {
            recorder.describe_counter(KeyName::from(metric.name), unit(metric), metric.help.into());
        }
        for (metric, _) in KEYED_COUNTERS {
            recorder.describe_counter(KeyName::from(metric.name), unit(metric), metric.help.into());
        }
        for metric in SUMMARIES.iter().map(|(metric, _)| metric).chain(KEYED.iter().map(|(metric, _)| metric))
        {
            recorder.describe_histogram(KeyName::from(metric.name), unit(metric), metric.help.into());
        }
    }
}

fn key(metric: &Metric, name: &str) -> Key {
    if name.is_empty() {
        Key::from_name(metric.name)
    } else {
        Key::from_parts(metric.name, vec![Label::new(KEY_LABEL, name.to_owned())])
    }
}

#[allow(clippy::unnecessary_wraps)] // What the recorder takes.
fn unit(metric: &Metric) -> Option<MetricsUnit> {
    Some(match metric.unit {
        Unit::Count => MetricsUnit::Count,
        Unit::Milliseconds => MetricsUnit::Milliseconds,
        Unit::Bytes => MetricsUnit::Bytes,
    })
}

#[allow(clippy::cast_precision_loss)] // Prometheus knows nothing else.
fn real(number: Number) -> f64 {
    match number {
        Number::Integer(integer) => integer as f64,
        Number::Real(real) => real,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{QuotaGauges, Traffic};

    #[test]
    fn a_scrape_shows_every_kind_under_the_names_of_java() {
        let registry = Registry::default();
        let shard = registry.thread();
        shard.commit_count.add(3);
        [1, 2, 3].into_iter().for_each(|ms| shard.fsynctime.record(ms));
        let mut traffic = Traffic::default();
        traffic.record("/app/x", 7);
        shard.write_per_namespace.take(&mut traffic);
        traffic.record("/app/x", 1);
        shard.quota_exceeded_error_per_namespace.take(&mut traffic);
        let quota = QuotaGauges { count_limit: 9, ..QuotaGauges::default() };
        let quotas = [("app".to_owned(), quota)].into();
        let gauges = Gauges { znode_count: 5, avg_latency: 0.5, quotas, ..Gauges::default() };

        let prometheus = Prometheus::new(true);
        let page = prometheus.render(&registry, &gauges);
        for line in [
            "# TYPE znode_count gauge",
            "znode_count 5",
            "avg_latency 0.5",
            "# TYPE commit_count counter",
            "commit_count 3",
            "# TYPE fsynctime summary",
            "fsynctime_sum 6",
            "fsynctime_count 3",
            "write_per_namespace_sum{key=\"app\"} 7",
            "# TYPE quota_count_limit_per_namespace gauge",
            "quota_count_limit_per_namespace{key=\"app\"} 9",
            "quota_exceeded_error_per_namespace{key=\"app\"} 1",
            "# TYPE process_resident_memory_bytes gauge",
            "# TYPE process_cpu_seconds_total counter",
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in\n{page}");
        }
        assert!(page.contains("fsynctime{quantile=\"0.5\"}"), "{page}");
    }

    #[test]
    fn a_second_scrape_counts_nothing_twice() {
        let registry = Registry::default();
        let shard = registry.thread();
        shard.fsynctime.record(4);
        let prometheus = Prometheus::new(true);
        let _ = prometheus.render(&registry, &Gauges::default());
        shard.fsynctime.record(4);
        let page = prometheus.render(&registry, &Gauges::default());
        assert!(page.contains("fsynctime_count 2\n") && page.contains("fsynctime_sum 8\n"), "{page}");
    }
}
