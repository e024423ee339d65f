"""What kafka-python's users do, each step asserting what it sees. See scenario.py for how to call it."""

import threading
import time

from kafka import ConsumerRebalanceListener, OffsetAndMetadata, TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import (
    InvalidConfigurationError,
    InvalidPartitionsError,
    InvalidReplicationFactorError,
    InvalidTopicError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    TopicAlreadyExistsError,
    UnknownTopicOrPartitionError,
)

from kafka_python import (
    Producer,
    admin,
    consumer,
    create,
    numbered,
    produce,
    read,
    read_partition,
    values,
)
from scenario import CODECS, LIMIT, SERVERS, equal, eventually, fresh, raises, run, scenario, spread


class Member(ConsumerRebalanceListener):
    """A member of a group that reads in a thread of its own until it reads that it is to leave."""

    def __init__(self, group, topic, **options):
        self.topic, self.owned, self.records = topic, set(), []
        self.client = consumer(group, **options)
        self.client.subscribe([topic], listener=self)
        self.thread = threading.Thread(target=self.read, daemon=True)
        self.thread.start()

    def on_partitions_revoked(self, revoked):
        self.owned = set()

    def on_partitions_assigned(self, assigned):
        self.owned = {partition.partition for partition in assigned}

    def read(self):
        # Not by polls that end without a record: when one ends while the group is joined, this client may forget that
        # it has been, and is silent from then on.
        for record in self.client:
            if record.value == b"leave":
                self.client.commit()
                self.client.close()
                return
            self.records.append(record)

    def wait_until_assigned(self, count):
        eventually(lambda: len(self.owned) == count, "%d partitions are assigned" % count)
        return self

    def leave(self):
        produce(self.topic, [b"leave"], min(self.owned))
        self.thread.join(LIMIT)
        assert not self.thread.is_alive(), "it does not leave"


@scenario
def a_topic_is_created_with_partitions_and_a_config():
    topic = create(retention_ms="12345678")
    assert topic in admin.list_topics()
    described = admin.describe_topics([topic])[0]
    equal(sorted(partition["partition_index"] for partition in described["partitions"]), [0, 1, 2])
    for partition in described["partitions"]:
        equal(len(partition["replica_nodes"]), 1)
        equal(partition["isr_nodes"], partition["replica_nodes"])
        equal(partition["leader_id"], partition["replica_nodes"][0])


@scenario
def a_topic_is_only_validated():
    topic = fresh("topic")
    admin.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, validate_only=True)
    assert topic not in admin.list_topics()


@scenario
def topics_take_the_brokers_defaults():
    topic = fresh("topic")
    admin.create_topics([topic], wait_for_metadata=True)
    equal(len(admin.describe_topics([topic])[0]["partitions"]), 1)


@scenario
def keys_values_headers_and_timestamps_come_back():
    topic = create()
    with Producer() as client:
        client.send(topic, b"v", b"k", [("h", b"1"), ("h", b"2")], 1, 1700000000123).get(LIMIT)
        client.send(topic, None, b"tombstone", partition=1).get(LIMIT)
        client.send(topic, b"", partition=1).get(LIMIT)
    first, second, third = read_partition(topic, 1, 3)
    equal((first.key, first.value, first.timestamp), (b"k", b"v", 1700000000123))
    equal(list(first.headers), [("h", b"1"), ("h", b"2")])
    equal((second.key, second.value), (b"tombstone", None))
    equal((third.key, third.value), (None, b""))
    equal([first.offset, second.offset, third.offset], [0, 1, 2])


@scenario
def records_of_every_codec_come_back():
    topic = create(partitions=1)
    sent = []
    for codec in [None] + CODECS:
        batch = [b"%s %d " % (str(codec).encode(), number) * 40 for number in range(200)]
        acknowledged = produce(topic, batch, compression_type=codec, linger_ms=20)
        equal([record.offset for record in acknowledged], list(range(len(sent), len(sent) + 200)))
        sent += batch
    equal(values(read_partition(topic, 0, 1000)), sent)


@scenario
def a_topic_recompresses_what_has_another_codec():
    topic = create(partitions=1, compression_type="zstd")
    for codec in [None] + CODECS:
        produce(topic, numbered(50), compression_type=codec)
    equal(values(read_partition(topic, 0, 250)), numbered(50) * 5)


@scenario
def every_acks_is_accepted():
    topic = create(partitions=1)
    for acks in [0, 1, "all"]:
        produce(topic, numbered(20), acks=acks, enable_idempotence=False)
    equal(values(read_partition(topic, 0, 60)), numbered(20) * 3)


@scenario
def without_acks_answers_to_other_requests_are_not_mistaken():
    topic = create()
    with Producer(acks=0, enable_idempotence=False) as client:
        for number in numbered(50):
            client.send(topic, number, partition=2)
            client.partitions_for(topic)
        client.flush(LIMIT)
    equal(values(read_partition(topic, 2, 50)), numbered(50))


@scenario
def an_idempotent_producer_keeps_the_order():
    topic = create(partitions=1)
    produce(topic, numbered(500), enable_idempotence=True, batch_size=200)
    equal(values(read_partition(topic, 0, 500)), numbered(500))


@scenario
def keyed_records_are_spread_over_partitions():
    topic = create()
    with Producer() as client:
        sent = [client.send(topic, key, key) for key in numbered(100)]
        placed = {future.get(LIMIT).partition for future in sent}
    equal(placed, {0, 1, 2})
    client = consumer(fresh("group"), topic)
    equal(sorted(values(read(client, 100))), sorted(numbered(100)))
    client.close()


@scenario
def members_join_and_leave_a_group():
    topic, group = create(), fresh("group")
    first = Member(group, topic).wait_until_assigned(3)
    second = Member(group, topic)
    members = [first, second]
    eventually(lambda: sorted(len(member.owned) for member in members) == [1, 2], "two members share")
    members.append(Member(group, topic))
    eventually(lambda: spread([member.owned for member in members]), "three members share")
    described = admin.describe_groups([group])[group]
    equal((described["group_state"], len(described["members"])), ("Stable", 3))

    for partition in range(3):
        produce(topic, numbered(10), partition)
    eventually(lambda: sum(len(member.records) for member in members) == 30, "every record is read once")
    for each in members:
        equal(values(each.records), numbered(10))

    first.leave()
    eventually(lambda: sorted(len(member.owned) for member in members[1:]) == [1, 2], "two members are left")
    second.leave()
    members[2].wait_until_assigned(3).leave()


@scenario
def a_member_that_falls_silent_is_replaced():
    topic, group = create(), fresh("group")
    silent = consumer(group, topic, max_poll_interval_ms=2000, session_timeout_ms=2000)
    produce(topic, [b"first"])
    read(silent, 1)
    equal(len(silent.assignment()), 3)
    Member(group, topic).wait_until_assigned(3).leave()
    silent.close()


@scenario
def a_static_member_returns_without_a_rebalance():
    topic, group = create(), fresh("group")
    first = Member(group, topic, group_instance_id="one").wait_until_assigned(3)
    generation = first.client.group_metadata().generation_id
    first.leave()
    again = Member(group, topic, group_instance_id="one").wait_until_assigned(3)
    equal(again.client.group_metadata().generation_id, generation)
    again.leave()


@scenario
def a_group_goes_on_where_it_has_committed():
    topic, group = create(partitions=1), fresh("group")
    produce(topic, numbered(20))
    partition = TopicPartition(topic, 0)
    first = consumer(group, topic, max_poll_records=10)
    equal(values(read(first, 10)), numbered(10))
    first.commit()
    equal(first.committed(partition), 10)
    first.close()
    second = consumer(group, topic)
    equal(values(read(second, 10)), numbered(10, start=10))
    second.commit({partition: OffsetAndMetadata(15, "halfway", -1)})
    committed = second.committed(partition, metadata=True)
    equal((committed.offset, committed.metadata), (15, "halfway"))
    second.close()
    third = consumer(group, topic)
    equal(values(read(third, 5)), numbered(5, start=15))
    third.close()


@scenario
def offsets_are_found_by_time():
    topic = create(partitions=1)
    with Producer() as client:
        for number in range(10):
            client.send(topic, b"%d" % number, partition=0, timestamp_ms=1000 * (number + 1)).get(LIMIT)
    client, partition = consumer(), TopicPartition(topic, 0)

    def at(timestamp):
        found = client.offsets_for_times({partition: timestamp})[partition]
        return found and (found.offset, found.timestamp)

    equal(at(1), (0, 1000))
    equal(at(3000), (2, 3000))
    equal(at(3001), (3, 4000))
    equal(at(10000), (9, 10000))
    equal(at(10001), None)
    equal(client.beginning_offsets([partition]), {partition: 0})
    equal(client.end_offsets([partition]), {partition: 10})
    client.close()


@scenario
def lag_is_the_end_less_the_committed_offset():
    topic, group = create(), fresh("group")
    for partition in range(3):
        produce(topic, numbered(10 * (partition + 1)), partition)
    partitions = [TopicPartition(topic, partition) for partition in range(3)]
    client = consumer(group, topic)
    read(client, 60)
    client.commit({partition: OffsetAndMetadata(5, "", -1) for partition in partitions})
    client.close()
    committed = admin.list_group_offsets({group: None})[group]
    ends = consumer().end_offsets(partitions)
    equal([ends[partition] - committed[partition].offset for partition in partitions], [5, 15, 25])


@scenario
def the_cluster_is_described():
    described = admin.describe_cluster()
    known = {broker["broker_id"] for broker in described["brokers"]}
    assert described["controller_id"] in known, described
    equal(len(described["cluster_id"]), 22)
    equal({"%s:%d" % (broker["host"], broker["port"]) for broker in described["brokers"]}, set(SERVERS.split(",")))


@scenario
def configs_are_described_and_altered():
    topic = create(retention_ms="1000000")

    def described(config_filter="modified"):
        found = admin.describe_configs([ConfigResource("TOPIC", topic)], config_filter=config_filter)
        return {name: config["value"] for name, config in found["topic"][topic].items()}

    equal(described().get("retention.ms"), "1000000")
    equal(described("all")["cleanup.policy"], "delete")
    admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.ms": "2000000", "segment.bytes": "1048576"})])
    eventually(lambda: described().get("retention.ms") == "2000000", "the new value")
    equal(described()["segment.bytes"], "1048576")
    admin.reset_configs([ConfigResource("TOPIC", topic, {"segment.bytes": None})])
    eventually(lambda: "segment.bytes" not in described(), "the default again")
    equal(described()["retention.ms"], "2000000")


@scenario
def the_brokers_configs_are_described():
    broker = str(admin.describe_cluster()["brokers"][0]["broker_id"])
    found = admin.describe_configs([ConfigResource("BROKER", broker)], config_filter="all")
    equal(found["broker"][broker]["auto.create.topics.enable"]["value"], "false")


@scenario
def a_topic_gets_more_partitions():
    topic = create()
    admin.create_partitions({topic: 5})
    eventually(lambda: len(admin.describe_topics([topic])[0]["partitions"]) == 5, "five partitions")
    admin.wait_for_topics([topic])
    equal([record.partition for record in produce(topic, numbered(3), 4)], [4, 4, 4])
    equal(values(read_partition(topic, 4, 3)), numbered(3))
    raises(InvalidPartitionsError, admin.create_partitions, {topic: 2})


@scenario
def records_are_deleted_up_to_an_offset():
    topic = create(partitions=1)
    partition = TopicPartition(topic, 0)
    produce(topic, numbered(20))
    deleted = admin.delete_records({partition: 12})
    equal(deleted[partition]["low_watermark"], 12)
    equal(consumer().beginning_offsets([partition]), {partition: 12})
    equal(values(read_partition(topic, 0, 8)), numbered(8, start=12))

    strict = consumer(auto_offset_reset="none")
    strict.assign([partition])
    strict.seek(partition, 3)
    raises(OffsetOutOfRangeError, lambda: read(strict, 1))
    strict.close()
    raises(OffsetOutOfRangeError, admin.delete_records, {partition: 21})


@scenario
def groups_are_listed_described_and_deleted():
    topic, group = create(), fresh("group")
    only = Member(group, topic).wait_until_assigned(3)
    client = only.client
    described = admin.describe_groups([group])[group]
    equal((described["error"], described["group_state"], described["protocol_type"]), (None, "Stable", "consumer"))
    member = described["members"][0]
    equal(member["client_id"], client.config["client_id"])
    equal(sorted(member["member_assignment"]["assigned_partitions"][0]["partitions"]), [0, 1, 2])
    assert group in [listed["group_id"] for listed in admin.list_groups()]
    equal(admin.delete_groups([group]), {group: "NonEmptyGroupError"})
    only.leave()
    equal(admin.describe_groups([group])[group]["group_state"], "Empty")
    admin.alter_group_offsets(group, {TopicPartition(topic, 0): OffsetAndMetadata(0, "", -1)})
    equal(admin.delete_group_offsets(group, [TopicPartition(topic, 0)])[TopicPartition(topic, 0)].__name__, "NoError")
    equal(admin.delete_groups([group]), {group: "OK"})
    equal(admin.describe_groups([group])[group]["group_state"], "Dead")
    assert group not in [listed["group_id"] for listed in admin.list_groups()]
    equal(admin.delete_groups([group]), {group: "GroupIdNotFoundError"})


@scenario
def a_topic_is_deleted_and_made_anew():
    topic = create(partitions=1)
    produce(topic, numbered(5))
    admin.delete_topics([topic])
    eventually(lambda: topic not in admin.list_topics(), "it is gone")
    admin.create_topics({topic: {"num_partitions": 2, "replication_factor": 1}}, wait_for_metadata=True)
    equal(produce(topic, [b"anew"])[0].offset, 0)
    equal(values(read_partition(topic, 0, 1)), [b"anew"])
    admin.delete_topics([topic])
    eventually(lambda: topic not in admin.list_topics(), "it is gone again")
    raises(UnknownTopicOrPartitionError, admin.delete_topics, [topic])


@scenario
def what_cannot_be_created_is_refused():
    topic = create()
    raises(TopicAlreadyExistsError, admin.create_topics, [topic])
    for name in ["", ".", "..", "with space", "slash/slash", "x" * 250]:
        raises(InvalidTopicError, admin.create_topics, [name])
    raises(InvalidPartitionsError, admin.create_topics, {fresh("topic"): {"num_partitions": 0}})
    raises(InvalidReplicationFactorError, admin.create_topics, {fresh("topic"): {"replication_factor": 30000}})
    unknown, invalid = {"no.such.config": "1"}, {"retention.ms": "often"}
    raises(InvalidConfigurationError, admin.create_topics, {fresh("topic"): {"configs": unknown}})
    raises(InvalidConfigurationError, admin.create_topics, {fresh("topic"): {"configs": invalid}})


@scenario
def a_topic_that_nobody_created_is_unknown():
    topic = fresh("topic")
    with Producer(max_block_ms=1500) as client:
        raises((KafkaTimeoutError, UnknownTopicOrPartitionError), lambda: client.send(topic, b"v").get(LIMIT))
    assert topic not in admin.list_topics()


@scenario
def a_record_that_is_too_large_is_refused_and_the_next_is_not():
    topic = create(partitions=1, max_message_bytes="10000")
    # Having failed once for good, this client's idempotent producers fail for ever.
    with Producer(enable_idempotence=False) as client:
        raises(MessageSizeTooLargeError, client.send(topic, b"x" * 20000, partition=0).get, LIMIT)
        client.send(topic, b"small", partition=0).get(LIMIT)
    equal(values(read_partition(topic, 0, 1)), [b"small"])


@scenario
def a_consumer_waits_for_what_is_not_there_yet():
    topic = create(partitions=1)
    client = consumer(fetch_max_wait_ms=5000)
    client.assign([TopicPartition(topic, 0)])
    client.poll(timeout_ms=300)
    began = time.monotonic()
    produce(topic, [b"late"])
    equal(values(read(client, 1)), [b"late"])
    assert time.monotonic() - began < 4, "the parked fetch was not woken"
    client.close()


run()
