use super::*;

fn properties<const N: usize>(pairs: [(&str, &str); N]) -> Properties {
    pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

fn checked<const N: usize>(pairs: [(&str, &str); N]) -> Result<TopicConfig, TopicConfigError> {
    let topic = properties(pairs);
    TopicConfig::check(Layers { topic: Some(&topic), ..Layers::default() })
}

#[test]
fn the_table_is_sorted_so_that_keys_are_found() {
    assert!(KEYS.is_sorted_by_key(|key| key.name));
    assert!(KEYS.iter().all(|key| find(key.name) == Some(key)));
}

#[test]
fn every_default_is_a_value_its_key_takes() {
    for key in KEYS {
        assert_eq!(check(key, key.name, key.default), Ok(()), "{}", key.name);
    }
}

#[test]
fn a_topic_for_which_nobody_set_anything_has_the_defaults_of_kafka() {
    let config = TopicConfig::default();
    assert_eq!(config.segment_bytes, 1 << 30);
    assert_eq!(config.retention, Some(Duration::from_secs(7 * 24 * 3600)));
    assert_eq!(config.retention_bytes, None);
    assert_eq!(config.flush_interval, None);
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: false });
    assert_eq!(config.message_bytes_max, 1_048_588);
    assert_eq!(config.compression, None);
}

#[test]
fn the_topics_value_goes_before_the_brokers_and_milliseconds_before_hours() {
    let file = properties([("log.retention.hours", "2"), ("log.retention.minutes", "3")]);
    let topic = properties([("retention.ms", "5")]);
    let of = |layers| TopicConfig::resolve(layers).unwrap().retention;
    assert_eq!(of(Layers { file: Some(&file), ..Layers::default() }), Some(Duration::from_secs(180)));
    let both = Layers { topic: Some(&topic), file: Some(&file), ..Layers::default() };
    assert_eq!(of(both), Some(Duration::from_millis(5)));
}

#[test]
fn for_ever_is_for_ever_in_hours_too() {
    let file = properties([("log.retention.hours", "-1")]);
    let config = TopicConfig::resolve(Layers { file: Some(&file), ..Layers::default() }).unwrap();
    assert_eq!(config.retention, None);
}

#[test]
fn an_error_names_key_and_value() {
    let error = checked([("segment.bytes", "3")]).unwrap_err();
    assert_eq!(error.to_string(), "segment.bytes=3: is below 14");
    let error = checked([("cleanup.policy", "compact,shred")]).unwrap_err();
    assert_eq!(error.to_string(), "cleanup.policy=compact,shred: is none of compact, delete");
    let error = checked([("retention.weeks", "1")]).unwrap_err();
    assert_eq!(error.to_string(), "retention.weeks=1: is not a configuration of topics");
}

#[test]
fn values_that_contradict_each_other_are_refused() {
    assert!(checked([("min.compaction.lag.ms", "5"), ("max.compaction.lag.ms", "4")]).is_err());
    assert!(checked([("remote.storage.enable", "true")]).is_err());
    assert!(checked([("min.cleanable.dirty.ratio", "1.5")]).is_err());
    assert!(checked([("preallocate", "yes")]).is_err());
}

#[test]
fn both_policies_may_be_given() {
    let config = checked([("cleanup.policy", "delete, compact")]).unwrap();
    assert_eq!(config.cleanup_policy, CleanupPolicy { delete: true, compact: true });
}

#[test]
fn the_deprecated_bound_counts_for_the_side_that_has_none() {
    let config =
        checked([("message.timestamp.difference.max.ms", "10"), ("message.timestamp.after.max.ms", "7")])
            .unwrap();
    assert_eq!(config.timestamp_before_max, Some(Duration::from_millis(10)));
    assert_eq!(config.timestamp_after_max, Some(Duration::from_millis(7)));
}

#[test]
fn a_description_says_where_a_value_came_from_and_what_else_there_was() {
    let file = properties([("log.roll.hours", "1")]);
    let topic = properties([("segment.ms", "9")]);
    let layers = Layers { topic: Some(&topic), file: Some(&file), ..Layers::default() };
    let described = TopicConfig::describe(layers).unwrap();
    let segment_ms = described.iter().find(|it| it.key.name == "segment.ms").unwrap();
    assert_eq!((segment_ms.value.as_str(), segment_ms.source), ("9", Source::Topic));
    let all: Vec<_> =
        segment_ms.candidates.iter().map(|it| (it.name, it.value.as_str(), it.source)).collect();
    assert_eq!(
        all,
        [
            ("segment.ms", "9", Source::Topic),
            ("log.roll.hours", "1", Source::File),
            ("log.roll.hours", "168", Source::Default),
        ]
    );
}
