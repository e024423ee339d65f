//! The APIs that are spoken, with the versions of each and the layout of their requests.
//!
//! The ranges are what Kafka's clients need, old ones included: a client may turn a feature on only when an early version
//! stands in the range, and then use a later one.

use std::ops::RangeInclusive;

use kafka_protocol::messages::ApiKey;

use super::shape::Item::{self, Fixed, List, Numbers, Raw, Text, Texts};

/// Versions of an API, both ends included.
pub type Versions = RangeInclusive<i16>;

/// One API as it is spoken here.
#[derive(Debug)]
pub struct Api {
    /// Its number in a request's head.
    pub key: i16,
    /// What metrics call it.
    name: &'static str,
    /// What clients may send.
    pub versions: Versions,
    /// Whether clients are told of it; what brokers ask of each other is not offered.
    pub advertised: bool,
    /// From this version on strings and arrays are compact and structs end with tagged fields (KIP-482).
    pub(super) flexible: i16,
    /// The request's fields in their order.
    pub(super) body: &'static [Field],
}

/// A field of a request, or of a struct within it.
#[derive(Debug)]
pub(super) struct Field {
    /// The versions that have it.
    pub(super) versions: Versions,
    pub(super) item: Item,
}

/// The number of Kafka's `ControlledShutdown`, which brokers send to the controller.
pub const CONTROLLED_SHUTDOWN: i16 = 7;

/// No version is flexible.
const NEVER: i16 = i16::MAX;

/// A field that all versions have.
const fn all(item: Item) -> Field {
    Field { versions: 0..=i16::MAX, item }
}

/// A field since `version`.
const fn since(version: i16, item: Item) -> Field {
    Field { versions: version..=i16::MAX, item }
}

/// A field up to `version`.
const fn until(version: i16, item: Item) -> Field {
    Field { versions: 0..=version, item }
}

const fn api(
    name: &'static str,
    key: ApiKey,
    versions: Versions,
    flexible: i16,
    body: &'static [Field],
) -> Api {
    Api { key: key as i16, name, versions, advertised: true, flexible, body }
}

impl Api {
    /// The API of number `key`, if it is spoken.
    pub fn find(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key == key)
    }

    /// Those which clients are told of, by their numbers.
    pub fn advertised() -> impl Iterator<Item = &'static Self> {
        APIS.iter().filter(|api| api.advertised)
    }

    /// What Kafka calls it.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether `version` has tagged fields.
    pub fn is_flexible(&self, version: i16) -> bool {
        version >= self.flexible
    }
}

/// Topics, and partitions of each by their numbers.
const TOPIC_NUMBERS: &[Field] = &[all(Text), all(Numbers)];
/// Names and values.
const SETTINGS: &[Field] = &[all(Text), all(Text)];
/// Names and values, each with what to do.
const CHANGES: &[Field] = &[all(Text), all(Fixed(1)), all(Text)];

static APIS: &[Api] = &[
    api(
        "Produce",
        ApiKey::Produce,
        3..=9,
        9,
        &[all(Text), all(Fixed(2 + 4)), all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Raw)]))]))],
    ),
    api(
        "Fetch",
        ApiKey::Fetch,
        4..=12,
        12,
        &[
            all(Fixed(4 + 4 + 4 + 4 + 1)),
            since(7, Fixed(4 + 4)),
            all(List(&[
                all(Text),
                all(List(&[
                    all(Fixed(4)),
                    since(9, Fixed(4)),
                    all(Fixed(8)),
                    since(12, Fixed(4)),
                    since(5, Fixed(8)),
                    all(Fixed(4)),
                ])),
            ])),
            since(7, List(TOPIC_NUMBERS)),
            since(11, Text),
        ],
    ),
    api(
        "ListOffsets",
        ApiKey::ListOffsets,
        1..=7,
        6,
        &[
            all(Fixed(4)),
            since(2, Fixed(1)),
            all(List(&[all(Text), all(List(&[all(Fixed(4)), since(4, Fixed(4)), all(Fixed(8))]))])),
        ],
    ),
    api(
        "Metadata",
        ApiKey::Metadata,
        0..=12,
        9,
        &[
            all(List(&[since(10, Fixed(16)), all(Text)])),
            since(4, Fixed(1)),
            Field { versions: 8..=10, item: Fixed(1) },
            since(8, Fixed(1)),
        ],
    ),
    Api {
        key: CONTROLLED_SHUTDOWN,
        name: "ControlledShutdown",
        versions: 2..=2,
        advertised: false,
        flexible: NEVER,
        body: &[all(Fixed(4 + 8))],
    },
    api(
        "OffsetCommit",
        ApiKey::OffsetCommit,
        2..=8,
        8,
        &[
            all(Text),
            all(Fixed(4)),
            all(Text),
            since(7, Text),
            until(4, Fixed(8)),
            all(List(&[all(Text), all(List(&[all(Fixed(4 + 8)), since(6, Fixed(4)), all(Text)]))])),
        ],
    ),
    api(
        "OffsetFetch",
        ApiKey::OffsetFetch,
        1..=8,
        6,
        &[
            until(7, Text),
            until(7, List(TOPIC_NUMBERS)),
            since(8, List(&[all(Text), all(List(TOPIC_NUMBERS))])),
            since(7, Fixed(1)),
        ],
    ),
    api(
        "FindCoordinator",
        ApiKey::FindCoordinator,
        0..=4,
        3,
        &[until(3, Text), since(1, Fixed(1)), since(4, Texts)],
    ),
    api(
        "JoinGroup",
        ApiKey::JoinGroup,
        0..=7,
        6,
        &[
            all(Text),
            all(Fixed(4)),
            since(1, Fixed(4)),
            all(Text),
            since(5, Text),
            all(Text),
            all(List(&[all(Text), all(Raw)])),
        ],
    ),
    api("Heartbeat", ApiKey::Heartbeat, 0..=4, 4, &[all(Text), all(Fixed(4)), all(Text), since(3, Text)]),
    api(
        "LeaveGroup",
        ApiKey::LeaveGroup,
        0..=5,
        4,
        &[all(Text), until(2, Text), since(3, List(&[all(Text), all(Text), since(5, Text)]))],
    ),
    api(
        "SyncGroup",
        ApiKey::SyncGroup,
        0..=5,
        4,
        &[
            all(Text),
            all(Fixed(4)),
            all(Text),
            since(3, Text),
            since(5, Text),
            since(5, Text),
            all(List(&[all(Text), all(Raw)])),
        ],
    ),
    api("DescribeGroups", ApiKey::DescribeGroups, 0..=5, 5, &[all(Texts), since(3, Fixed(1))]),
    api("ListGroups", ApiKey::ListGroups, 0..=4, 3, &[since(4, Texts)]),
    api("ApiVersions", ApiKey::ApiVersions, 0..=3, 3, &[since(3, Text), since(3, Text)]),
    api(
        "CreateTopics",
        ApiKey::CreateTopics,
        2..=7,
        5,
        &[
            all(List(&[
                all(Text),
                all(Fixed(4 + 2)),
                all(List(&[all(Fixed(4)), all(Numbers)])),
                all(List(SETTINGS)),
            ])),
            all(Fixed(4 + 1)),
        ],
    ),
    api(
        "DeleteTopics",
        ApiKey::DeleteTopics,
        1..=6,
        4,
        &[until(5, Texts), since(6, List(&[all(Text), all(Fixed(16))])), all(Fixed(4))],
    ),
    api(
        "DeleteRecords",
        ApiKey::DeleteRecords,
        0..=2,
        2,
        &[all(List(&[all(Text), all(List(&[all(Fixed(4 + 8))]))])), all(Fixed(4))],
    ),
    api(
        "InitProducerId",
        ApiKey::InitProducerId,
        0..=4,
        2,
        &[all(Text), all(Fixed(4)), since(3, Fixed(8 + 2))],
    ),
    api(
        "OffsetForLeaderEpoch",
        ApiKey::OffsetForLeaderEpoch,
        2..=4,
        4,
        &[since(3, Fixed(4)), all(List(&[all(Text), all(List(&[all(Fixed(4 + 4 + 4))]))]))],
    ),
    api(
        "DescribeConfigs",
        ApiKey::DescribeConfigs,
        1..=4,
        4,
        &[all(List(&[all(Fixed(1)), all(Text), all(Texts)])), all(Fixed(1)), since(3, Fixed(1))],
    ),
    api(
        "AlterConfigs",
        ApiKey::AlterConfigs,
        0..=2,
        2,
        &[all(List(&[all(Fixed(1)), all(Text), all(List(SETTINGS))])), all(Fixed(1))],
    ),
    api("DescribeLogDirs", ApiKey::DescribeLogDirs, 1..=4, 2, &[all(List(TOPIC_NUMBERS))]),
    api(
        "CreatePartitions",
        ApiKey::CreatePartitions,
        0..=3,
        2,
        &[all(List(&[all(Text), all(Fixed(4)), all(List(&[all(Numbers)]))])), all(Fixed(4 + 1))],
    ),
    api("DeleteGroups", ApiKey::DeleteGroups, 0..=2, 2, &[all(Texts)]),
    api(
        "ElectLeaders",
        ApiKey::ElectLeaders,
        0..=2,
        2,
        &[since(1, Fixed(1)), all(List(TOPIC_NUMBERS)), all(Fixed(4))],
    ),
    api(
        "IncrementalAlterConfigs",
        ApiKey::IncrementalAlterConfigs,
        0..=1,
        1,
        &[all(List(&[all(Fixed(1)), all(Text), all(List(CHANGES))])), all(Fixed(1))],
    ),
    api(
        "AlterPartitionReassignments",
        ApiKey::AlterPartitionReassignments,
        0..=0,
        0,
        &[all(Fixed(4)), all(List(&[all(Text), all(List(&[all(Fixed(4)), all(Numbers)]))]))],
    ),
    api(
        "ListPartitionReassignments",
        ApiKey::ListPartitionReassignments,
        0..=0,
        0,
        &[all(Fixed(4)), all(List(TOPIC_NUMBERS))],
    ),
    api(
        "OffsetDelete",
        ApiKey::OffsetDelete,
        0..=0,
        NEVER,
        &[all(Text), all(List(&[all(Text), all(List(&[all(Fixed(4))]))]))],
    ),
    api("DescribeCluster", ApiKey::DescribeCluster, 0..=1, 0, &[all(Fixed(1)), since(1, Fixed(1))]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_apis_stand_in_the_order_of_their_numbers_each_once() {
        assert!(APIS.is_sorted_by(|one, next| one.key < next.key));
    }

    #[test]
    fn the_decoder_knows_every_version_that_is_offered() {
        for api in Api::advertised() {
            let known = ApiKey::try_from(api.key).expect("an API of Kafka's").valid_versions();
            assert!(known.min <= *api.versions.start() && *api.versions.end() <= known.max, "{api:?}");
        }
    }

    #[test]
    fn flexible_versions_are_those_whose_head_has_tags() {
        for api in Api::advertised() {
            let key = ApiKey::try_from(api.key).expect("an API of Kafka's");
            for version in api.versions.clone() {
                assert_eq!(
                    api.is_flexible(version),
                    key.request_header_version(version) == 2,
                    "{key:?} {version}"
                );
            }
        }
    }
}
