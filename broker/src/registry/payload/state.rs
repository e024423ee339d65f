//! `/brokers/topics/<topic>/partitions/<p>/state`: who leads, who is in sync. Kafka's `TopicPartitionStateZNode`.

use client::Stat;
use serde::{Deserialize, Serialize};

use super::{Malformed, decode, encode};
use crate::registry::image::PartitionState;
use crate::topic_partition::BrokerId;

const NO_LEADER: BrokerId = -1;

/// What a partition's state says, without what the service adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatePayload {
    /// `None` while there is no leader.
    pub leader: Option<BrokerId>,
    /// The leader's epoch.
    pub leader_epoch: i32,
    /// The replicas in sync.
    pub isr: Vec<BrokerId>,
    /// Of the controller that wrote it.
    pub controller_epoch: i32,
    /// After an unclean election.
    pub recovering: bool,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    #[serde(default)]
    version: i32,
    leader: BrokerId,
    leader_epoch: i32,
    controller_epoch: i32,
    isr: Vec<BrokerId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    leader_recovery_state: Option<i8>,
}

impl StatePayload {
    /// The payload, version 1.
    pub fn encode(&self) -> Vec<u8> {
        encode(&Payload {
            version: 1,
            leader: self.leader.unwrap_or(NO_LEADER),
            leader_epoch: self.leader_epoch,
            controller_epoch: self.controller_epoch,
            isr: self.isr.clone(),
            leader_recovery_state: self.recovering.then_some(1),
        })
    }

    /// The state that has it in a znode of this version, changed last by transaction `modified`.
    pub fn at(self, version: i32, modified: i64) -> PartitionState {
        let Self { leader, leader_epoch, isr, controller_epoch, recovering } = self;
        PartitionState { leader, leader_epoch, isr, controller_epoch, recovering, version, modified }
    }
}

impl From<&PartitionState> for StatePayload {
    fn from(state: &PartitionState) -> Self {
        Self {
            leader: state.leader,
            leader_epoch: state.leader_epoch,
            isr: state.isr.clone(),
            controller_epoch: state.controller_epoch,
            recovering: state.recovering,
        }
    }
}

/// The state in a znode with this data and stat.
///
/// # Errors
/// When `data` is no state.
pub fn decode_state(data: &[u8], stat: &Stat) -> Result<PartitionState, Malformed> {
    let payload: Payload = decode("a partition's state", data)?;
    let state = StatePayload {
        leader: (payload.leader >= 0).then_some(payload.leader),
        leader_epoch: payload.leader_epoch,
        isr: payload.isr,
        controller_epoch: payload.controller_epoch,
        recovering: payload.leader_recovery_state == Some(1),
    };
    Ok(state.at(stat.version, stat.mzxid))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat() -> Stat {
        Stat { version: 4, mzxid: 77, ..Stat::default() }
    }

    #[test]
    fn a_state_has_kafkas_shape_and_is_read_back() {
        let led = StatePayload {
            leader: Some(1),
            leader_epoch: 3,
            isr: vec![1, 2],
            controller_epoch: 9,
            recovering: false,
        };
        let data = led.encode();
        let json = r#"{"version":1,"leader":1,"leader_epoch":3,"controller_epoch":9,"isr":[1,2]}"#;
        assert_eq!(String::from_utf8(data.clone()).unwrap(), json);
        let state = decode_state(&data, &stat()).unwrap();
        assert_eq!((state.version, state.modified), (4, 77));
        assert_eq!(StatePayload::from(&state), led);
    }

    #[test]
    fn a_partition_without_a_leader_says_minus_one() {
        let state = StatePayload {
            leader: None,
            leader_epoch: 4,
            isr: vec![2],
            controller_epoch: 9,
            recovering: true,
        };
        let json = concat!(
            r#"{"version":1,"leader":-1,"leader_epoch":4,"controller_epoch":9,"isr":[2],"#,
            r#""leader_recovery_state":1}"#
        );
        assert_eq!(String::from_utf8(state.encode()).unwrap(), json);
        assert_eq!(StatePayload::from(&decode_state(json.as_bytes(), &stat()).unwrap()), state);
    }

    #[test]
    fn what_is_no_state_is_an_error() {
        for data in [&b""[..], b"{}", br#"{"leader":1,"leader_epoch":0,"controller_epoch":1,"isr":"1"}"#] {
            assert!(decode_state(data, &stat()).is_err());
        }
    }
}
