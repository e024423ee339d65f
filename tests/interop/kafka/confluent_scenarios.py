"""What the users of confluent-kafka, and so of librdkafka, do, each step asserting what it sees. See scenario.py for how
to call it."""

import threading
import time
import warnings

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupState,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
)

from scenario import CODECS, LIMIT, SERVERS, equal, eventually, fresh, run, scenario, spread

admin = AdminClient({"bootstrap.servers": SERVERS})


def done(futures):
    """What an admin's call came to, for each of the things asked for."""
    return {name: future.result(LIMIT) for name, future in futures.items()}


def refused(code, futures):
    """All of it must fail with this code."""
    for future in futures.values():
        error = future.exception(LIMIT)
        assert error is not None, "%s was not refused" % code
        equal(error.args[0].name(), code)


def create(partitions=3, **configs):
    topic = fresh("topic")
    named = {name.replace("_", "."): value for name, value in configs.items()}
    done(admin.create_topics([NewTopic(topic, partitions, 1, config=named)]))
    eventually(lambda: leaders(topic) == [1] * partitions, "all partitions are led")
    return topic


def leaders(topic):
    partitions = admin.list_topics(topic, LIMIT).topics[topic].partitions
    return [partitions[number].leader for number in sorted(partitions)]


def produce(topic, values, partition=0, keys=None, **options):
    """Produces values; gives where each has come to stand."""
    client = Producer({"bootstrap.servers": SERVERS, **{name.replace("_", "."): value for name, value in options.items()}})
    delivered = []
    for number, value in enumerate(values):
        place = {"key": keys[number]} if keys else {"partition": partition}
        client.produce(topic, value, on_delivery=lambda *outcome: delivered.append(outcome), **place)
    equal(client.flush(LIMIT), 0)
    for error, _ in delivered:
        if error:
            raise KafkaException(error)
    return [message for _, message in delivered]


def consumer(group=None, **options):
    named = {name.replace("_", "."): value for name, value in options.items()}
    return Consumer({
        "bootstrap.servers": SERVERS,
        "group.id": group or fresh("group"),
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "session.timeout.ms": 6000,
        "heartbeat.interval.ms": 200,
        **named,
    })


def read(client, count):
    """Polls until there are so many messages."""
    messages = []

    def enough():
        for message in client.consume(count, 0.2):
            if message.error():
                raise KafkaException(message.error())
            messages.append(message)
        return len(messages) >= count

    eventually(enough, "%d messages" % count)
    return messages


def read_partition(topic, partition, count):
    client = consumer()
    client.assign([TopicPartition(topic, partition, OFFSET_BEGINNING)])
    messages = read(client, count)
    equal(client.get_watermark_offsets(TopicPartition(topic, partition))[1], messages[-1].offset() + 1)
    client.close()
    return messages


def values(messages):
    return [message.value() for message in messages]


def numbered(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


class Member:
    """A member of a group that polls in a thread of its own until it leaves."""

    def __init__(self, group, topic, **options):
        self.client = consumer(group, **options)
        self.client.subscribe([topic])
        self.owned, self.messages, self.leaving = set(), [], threading.Event()
        self.thread = threading.Thread(target=self.poll, daemon=True)
        self.thread.start()

    def poll(self):
        while not self.leaving.is_set():
            message = self.client.poll(0.1)
            if message and not message.error():
                self.messages.append(message)
            self.owned = {partition.partition for partition in self.client.assignment()}

    def wait_until_assigned(self, count):
        eventually(lambda: len(self.owned) == count, "%d partitions are assigned" % count)
        return self

    def leave(self):
        self.leaving.set()
        self.thread.join(LIMIT)
        self.client.close()


@scenario
def a_topic_is_created_with_partitions_and_a_config():
    topic = create(retention_ms="12345678")
    described = done(admin.describe_topics(TopicCollection([topic])))[topic]
    equal([partition.id for partition in described.partitions], [0, 1, 2])
    for partition in described.partitions:
        equal([node.id for node in partition.isr], [node.id for node in partition.replicas])
    assert not described.is_internal
    equal(described_configs(topic)["retention.ms"].value, "12345678")


@scenario
def keys_values_headers_and_timestamps_come_back():
    topic = create()
    client = Producer({"bootstrap.servers": SERVERS})
    client.produce(topic, b"v", b"k", 1, timestamp=1700000000123, headers=[("h", b"1"), ("h", None)])
    client.produce(topic, None, b"tombstone", 1)
    equal(client.flush(LIMIT), 0)
    first, second = read_partition(topic, 1, 2)
    equal((first.key(), first.value(), first.timestamp()[1]), (b"k", b"v", 1700000000123))
    equal(first.headers(), [("h", b"1"), ("h", None)])
    equal((second.key(), second.value(), second.offset()), (b"tombstone", None, 1))


@scenario
def messages_of_every_codec_come_back():
    topic = create(partitions=1)
    sent = []
    for codec in ["none"] + CODECS:
        batch = [b"%s %d " % (codec.encode(), number) * 40 for number in range(200)]
        produce(topic, batch, compression_type=codec, linger_ms=20)
        sent += batch
    messages = read_partition(topic, 0, 1000)
    equal(values(messages), sent)
    equal([message.offset() for message in messages], list(range(1000)))


@scenario
def every_acks_is_accepted():
    topic = create(partitions=1)
    for acks in ["0", "1", "all"]:
        produce(topic, numbered(20), acks=acks)
    equal(values(read_partition(topic, 0, 60)), numbered(20) * 3)


@scenario
def an_idempotent_producer_keeps_the_order():
    topic = create(partitions=1)
    produce(topic, numbered(500), enable_idempotence=True, batch_num_messages=7)
    equal(values(read_partition(topic, 0, 500)), numbered(500))


@scenario
def members_join_and_leave_a_group():
    rebalance("range")


@scenario
def members_of_a_cooperative_group_join_and_leave():
    rebalance("cooperative-sticky")


def rebalance(strategy):
    topic, group, options = create(), fresh("group"), {"partition_assignment_strategy": strategy}
    first = Member(group, topic, **options).wait_until_assigned(3)
    second = Member(group, topic, **options)
    members = [first, second]
    eventually(lambda: sorted(len(member.owned) for member in members) == [1, 2], "two members share")
    members.append(Member(group, topic, **options))
    eventually(lambda: spread([member.owned for member in members]), "three members share")

    produce(topic, numbered(100), keys=numbered(100))
    eventually(lambda: sum(len(member.messages) for member in members) == 100, "every message is read once")
    first.leave()
    eventually(lambda: sorted(len(member.owned) for member in members[1:]) == [1, 2], "two members are left")
    second.leave()
    members[2].wait_until_assigned(3).leave()


@scenario
def a_static_member_returns_without_a_rebalance():
    topic, group = create(), fresh("group")
    first = Member(group, topic, group_instance_id="one").wait_until_assigned(3)
    before = done(admin.describe_consumer_groups([group]))[group].members[0]
    equal(before.group_instance_id, "one")
    first.leave()
    described = done(admin.describe_consumer_groups([group]))[group]
    equal((described.state, len(described.members)), (ConsumerGroupState.STABLE, 1))
    Member(group, topic, group_instance_id="one").wait_until_assigned(3).leave()


@scenario
def a_group_goes_on_where_it_has_committed():
    topic, group = create(partitions=1), fresh("group")
    produce(topic, numbered(20))
    first = consumer(group)
    first.subscribe([topic])
    equal(values(read(first, 10)), numbered(10))
    first.commit(offsets=[TopicPartition(topic, 0, 10, "halfway")], asynchronous=False)
    first.close()
    second = consumer(group)
    committed = second.committed([TopicPartition(topic, 0)], LIMIT)[0]
    equal((committed.offset, committed.metadata), (10, "halfway"))
    second.subscribe([topic])
    equal(values(read(second, 10)), numbered(10, start=10))
    second.close()


@scenario
def offsets_are_found_by_time():
    topic = create(partitions=1)
    client = Producer({"bootstrap.servers": SERVERS})
    for number in range(10):
        client.produce(topic, b"%d" % number, partition=0, timestamp=1000 * (number + 1))
    equal(client.flush(LIMIT), 0)
    reader = consumer()

    def at(timestamp):
        return reader.offsets_for_times([TopicPartition(topic, 0, timestamp)], LIMIT)[0].offset

    equal([at(1), at(3000), at(3001), at(10000)], [0, 2, 3, 9])
    assert at(10001) in (-1, 10), at(10001)
    equal(reader.get_watermark_offsets(TopicPartition(topic, 0), LIMIT), (0, 10))
    reader.close()
    place = TopicPartition(topic, 0)
    for spec, offset in [(OffsetSpec.earliest(), 0), (OffsetSpec.latest(), 10), (OffsetSpec.for_timestamp(5000), 4)]:
        equal(done(admin.list_offsets({place: spec}))[place].offset, offset)


@scenario
def lag_is_the_end_less_the_committed_offset():
    topic, group = create(), fresh("group")
    produce(topic, numbered(90), keys=numbered(90))
    client = consumer(group)
    client.commit(offsets=[TopicPartition(topic, number, 5) for number in range(3)], asynchronous=False)
    client.close()
    asked = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, number) for number in range(3)])
    committed = done(admin.list_consumer_group_offsets([asked]))[group].topic_partitions
    ends = done(admin.list_offsets({TopicPartition(topic, number): OffsetSpec.latest() for number in range(3)}))
    equal(sum(end.offset for end in ends.values()) - sum(place.offset for place in committed), 75)


@scenario
def the_cluster_is_described():
    described = admin.describe_cluster().result(LIMIT)
    equal(len(described.cluster_id), 22)
    known = {node.id: "%s:%d" % (node.host, node.port) for node in described.nodes}
    equal(set(known.values()), set(SERVERS.split(",")))
    assert described.controller.id in known


def described_configs(name, kind=ConfigResource.Type.TOPIC):
    resource = ConfigResource(kind, name)
    return done(admin.describe_configs([resource]))[resource]


@scenario
def configs_are_described_and_altered():
    topic = create(retention_ms="1000000")
    described = described_configs(topic)
    equal((described["retention.ms"].value, described["retention.ms"].is_default), ("1000000", False))
    equal((described["cleanup.policy"].value, described["cleanup.policy"].is_default), ("delete", True))
    altered = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", "2000000", incremental_operation=AlterConfigOpType.SET),
        ConfigEntry("cleanup.policy", "compact", incremental_operation=AlterConfigOpType.APPEND),
    ])
    done(admin.incremental_alter_configs([altered]))
    eventually(lambda: described_configs(topic)["retention.ms"].value == "2000000", "the new value")
    equal(described_configs(topic)["cleanup.policy"].value, "delete,compact")
    unset = ConfigResource(ConfigResource.Type.TOPIC, topic, incremental_configs=[
        ConfigEntry("retention.ms", None, incremental_operation=AlterConfigOpType.DELETE),
    ])
    done(admin.incremental_alter_configs([unset]))
    eventually(lambda: described_configs(topic)["retention.ms"].is_default, "the default again")
    with warnings.catch_warnings(action="ignore"):
        done(admin.alter_configs([ConfigResource(ConfigResource.Type.TOPIC, topic, {"segment.bytes": "1048576"})]))
    eventually(lambda: described_configs(topic)["segment.bytes"].value == "1048576", "all of it replaced")
    equal(described_configs(topic)["cleanup.policy"].value, "delete")
    equal(described_configs("1", ConfigResource.Type.BROKER)["auto.create.topics.enable"].value, "false")


@scenario
def a_topic_gets_more_partitions():
    topic = create()
    done(admin.create_partitions([NewPartitions(topic, 5)]))
    eventually(lambda: leaders(topic) == [1] * 5, "all partitions are led")
    produce(topic, numbered(3), 4)
    equal(values(read_partition(topic, 4, 3)), numbered(3))
    refused("INVALID_PARTITIONS", admin.create_partitions([NewPartitions(topic, 2)]))


@scenario
def records_are_deleted_up_to_an_offset():
    topic = create(partitions=1)
    produce(topic, numbered(20))
    deleted = done(admin.delete_records([TopicPartition(topic, 0, 12)]))
    equal([outcome.low_watermark for outcome in deleted.values()], [12])
    equal(values(read_partition(topic, 0, 8)), numbered(8, start=12))
    refused("OFFSET_OUT_OF_RANGE", admin.delete_records([TopicPartition(topic, 0, 21)]))

    strict = consumer(auto_offset_reset="error")
    strict.assign([TopicPartition(topic, 0, 3)])
    message = eventually(lambda: strict.poll(0.2), "an error")
    equal(message.error().name(), "_AUTO_OFFSET_RESET")
    strict.close()


@scenario
def groups_are_listed_described_and_deleted():
    topic, group = create(), fresh("group")
    member = Member(group, topic, client_id="somebody").wait_until_assigned(3)
    described = done(admin.describe_consumer_groups([group]))[group]
    equal((described.state, described.partition_assignor), (ConsumerGroupState.STABLE, "range"))
    equal([one.client_id for one in described.members], ["somebody"])
    equal(len(described.members[0].assignment.topic_partitions), 3)
    assert group in listed_groups()
    refused("NON_EMPTY_GROUP", admin.delete_consumer_groups([group]))
    member.leave()
    equal(done(admin.describe_consumer_groups([group]))[group].state, ConsumerGroupState.EMPTY)
    moved = ConsumerGroupTopicPartitions(group, [TopicPartition(topic, 1, 7)])
    done(admin.alter_consumer_group_offsets([moved]))
    found = done(admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)]))[group].topic_partitions
    equal([(place.partition, place.offset) for place in found], [(1, 7)])
    done(admin.delete_consumer_groups([group]))
    equal(done(admin.describe_consumer_groups([group]))[group].state, ConsumerGroupState.DEAD)
    assert group not in listed_groups()
    refused("GROUP_ID_NOT_FOUND", admin.delete_consumer_groups([group]))


def listed_groups():
    found = admin.list_consumer_groups().result(LIMIT)
    equal(found.errors, [])
    return [group.group_id for group in found.valid]


@scenario
def a_topic_is_deleted_and_made_anew():
    topic = create(partitions=1)
    produce(topic, numbered(5))
    done(admin.delete_topics([topic]))
    eventually(lambda: topic not in admin.list_topics(timeout=LIMIT).topics, "it is gone")
    done(admin.create_topics([NewTopic(topic, 1, 1)]))
    eventually(lambda: leaders(topic) == [1], "it is there again")
    equal(produce(topic, [b"anew"])[0].offset(), 0)
    equal(values(read_partition(topic, 0, 1)), [b"anew"])
    done(admin.delete_topics([topic]))
    eventually(lambda: topic not in admin.list_topics(timeout=LIMIT).topics, "it is gone again")
    refused("UNKNOWN_TOPIC_OR_PART", admin.delete_topics([topic]))


@scenario
def what_cannot_be_created_is_refused():
    topic = create()
    refused("TOPIC_ALREADY_EXISTS", admin.create_topics([NewTopic(topic, 1, 1)]))
    for name in [".", "with space", "x" * 250]:
        refused("TOPIC_EXCEPTION", admin.create_topics([NewTopic(name, 1, 1)]))
    refused("INVALID_REPLICATION_FACTOR", admin.create_topics([NewTopic(fresh("topic"), 1, 100)]))
    refused("INVALID_CONFIG", admin.create_topics([NewTopic(fresh("topic"), 1, 1, config={"retention.ms": "often"})]))
    refused("INVALID_PARTITIONS", admin.create_topics([NewTopic(fresh("topic"), 0, 1)]))


@scenario
def a_topic_that_nobody_created_is_unknown():
    topic = fresh("topic")
    client, failed = Producer({"bootstrap.servers": SERVERS, "topic.metadata.propagation.max.ms": 500}), []
    client.produce(topic, b"v", on_delivery=lambda error, _: failed.append(error.name()))
    equal(client.flush(LIMIT), 0)
    assert failed[0] in ("_UNKNOWN_TOPIC", "UNKNOWN_TOPIC_OR_PART"), failed
    reader = consumer()
    reader.subscribe([topic])
    message = eventually(lambda: reader.poll(0.2), "an error")
    equal(message.error().code(), KafkaError.UNKNOWN_TOPIC_OR_PART)
    reader.close()


@scenario
def a_message_that_is_too_large_is_refused_and_the_next_is_not():
    topic = create(partitions=1, max_message_bytes="10000")
    try:
        produce(topic, [b"x" * 20000])
    except KafkaException as error:
        equal(error.args[0].code(), KafkaError.MSG_SIZE_TOO_LARGE)
    else:
        raise AssertionError("it was accepted")
    produce(topic, [b"small"])
    equal(values(read_partition(topic, 0, 1)), [b"small"])


@scenario
def a_consumer_waits_for_what_is_not_there_yet():
    topic = create(partitions=1)
    client = consumer(fetch_wait_max_ms=5000)
    client.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    client.poll(0.5)
    began = time.monotonic()
    produce(topic, [b"late"])
    equal(values(read(client, 1)), [b"late"])
    assert time.monotonic() - began < 4, "the parked fetch was not woken"
    client.close()


run()
