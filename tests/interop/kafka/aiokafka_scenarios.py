"""What aiokafka's users do, each step asserting what it sees. See scenario.py for how to call it."""

import asyncio
import time

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, ConsumerRebalanceListener, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewPartitions, NewTopic, RecordsToDelete
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import (
    InvalidPartitionsError,
    KafkaTimeoutError,
    MessageSizeTooLargeError,
    OffsetOutOfRangeError,
    UnknownTopicOrPartitionError,
    for_code,
)
from aiokafka.structs import OffsetAndMetadata

from scenario import CODECS, LIMIT, SERVERS, equal, fresh, run, scenario, spread


async def eventually(condition, what):
    """Polls until the condition, which may be a coroutine, holds."""
    deadline = time.monotonic() + LIMIT
    while True:
        held = condition()
        if asyncio.iscoroutine(held):
            held = await held
        if held:
            return
        assert time.monotonic() < deadline, "never: " + what
        await asyncio.sleep(0.02)


async def raises(error, awaited):
    try:
        await awaited
    except error:
        return
    raise AssertionError("%s was not raised" % (error,))


def admin():
    return AIOKafkaAdminClient(bootstrap_servers=SERVERS)


class started:
    """A client that is started, and stopped in the end."""

    def __init__(self, client):
        self.client = client

    async def __aenter__(self):
        await self.client.start()
        return self.client

    async def __aexit__(self, *_):
        # An admin is closed, the others are stopped.
        await (self.client.close() if isinstance(self.client, AIOKafkaAdminClient) else self.client.stop())


async def create(client, partitions=3, **configs):
    topic = fresh("topic")
    named = {name.replace("_", "."): value for name, value in configs.items()}
    equal(await outcome_of_create(client, NewTopic(topic, partitions, 1, topic_configs=named)), "NoError")
    await eventually(lambda: is_led(client, topic, partitions), "all partitions are led")
    return topic


async def outcome_of_create(client, new):
    answer = await client.create_topics([new])
    return for_code(answer.topic_errors[0][1]).__name__


async def is_led(client, topic, partitions):
    described = (await client.describe_topics([topic]))[0]["partitions"]
    return len(described) == partitions and all(one["leader"] >= 0 for one in described)


def producer(**options):
    return AIOKafkaProducer(bootstrap_servers=SERVERS, **options)


async def produce(topic, values, partition=0, **options):
    async with started(producer(**options)) as client:
        sent = [await client.send(topic, value, partition=partition) for value in values]
        return await asyncio.gather(*sent)


def consumer(*topics, group=None, **options):
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    if group:
        options = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 200, **options}
    return AIOKafkaConsumer(*topics, bootstrap_servers=SERVERS, group_id=group, **options)


async def read(client, count):
    async def enough():
        return [await client.getone() for _ in range(count)]

    return await asyncio.wait_for(enough(), LIMIT)


async def read_partition(topic, partition, count):
    async with started(consumer()) as client:
        client.assign([TopicPartition(topic, partition)])
        return await read(client, count)


def values(records):
    return [record.value for record in records]


def numbered(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


class Member(ConsumerRebalanceListener):
    """A member of a group that reads in a task of its own until it leaves."""

    def __init__(self, group, topic, **options):
        self.client = consumer(group=group, **options)
        self.client.subscribe([topic], listener=self)
        self.owned, self.records, self.generations = set(), [], 0

    async def on_partitions_revoked(self, revoked):
        self.owned = set()

    async def on_partitions_assigned(self, assigned):
        self.owned, self.generations = {partition.partition for partition in assigned}, self.generations + 1

    async def join(self):
        await self.client.start()
        self.reading = asyncio.create_task(self.read())
        return self

    async def read(self):
        async for record in self.client:
            self.records.append(record)

    async def wait_until_assigned(self, count):
        await eventually(lambda: len(self.owned) == count, "%d partitions are assigned" % count)
        return self

    async def leave(self):
        self.reading.cancel()
        await self.client.stop()


@scenario
async def a_topic_is_created_with_partitions_and_a_config():
    async with started(admin()) as client:
        topic = await create(client, retention_ms="12345678")
        assert topic in await client.list_topics()
        described = (await client.describe_topics([topic]))[0]
        equal(sorted(one["partition"] for one in described["partitions"]), [0, 1, 2])
        equal((await described_config(client, topic))["retention.ms"], "12345678")


@scenario
async def keys_values_headers_and_timestamps_come_back():
    async with started(admin()) as client:
        topic = await create(client)
    async with started(producer()) as client:
        headers = [("h", b"1"), ("h", b"2")]
        await client.send_and_wait(topic, b"v", b"k", 1, timestamp_ms=1700000000123, headers=headers)
        await client.send_and_wait(topic, None, b"tombstone", 1)
    first, second = await read_partition(topic, 1, 2)
    equal((first.key, first.value, first.timestamp), (b"k", b"v", 1700000000123))
    equal(list(first.headers), headers)
    equal((second.key, second.value, second.offset), (b"tombstone", None, 1))


@scenario
async def records_of_every_codec_come_back():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
    sent = []
    for codec in [None] + CODECS:
        batch = [b"%s %d " % (str(codec).encode(), number) * 40 for number in range(200)]
        acknowledged = await produce(topic, batch, compression_type=codec, linger_ms=20)
        equal([record.offset for record in acknowledged], list(range(len(sent), len(sent) + 200)))
        sent += batch
    equal(values(await read_partition(topic, 0, 1000)), sent)


@scenario
async def every_acks_is_accepted():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
    for acks in [0, 1, "all"]:
        await produce(topic, numbered(20), acks=acks)
    equal(values(await read_partition(topic, 0, 60)), numbered(20) * 3)


@scenario
async def an_idempotent_producer_keeps_the_order():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
    await produce(topic, numbered(500), enable_idempotence=True, max_batch_size=200)
    equal(values(await read_partition(topic, 0, 500)), numbered(500))


@scenario
async def members_join_and_leave_a_group():
    async with started(admin()) as client:
        topic, group = await create(client), fresh("group")
        first = await (await Member(group, topic).join()).wait_until_assigned(3)
        second = await Member(group, topic).join()
        members = [first, second]
        await eventually(lambda: sorted(len(member.owned) for member in members) == [1, 2], "two members share")
        members.append(await Member(group, topic).join())
        await eventually(lambda: spread([member.owned for member in members]), "three members share")
        described = (await client.describe_consumer_groups([group]))[0].groups[0]
        equal((described[0], described[2], len(described[5])), (0, "Stable", 3))

    for partition in range(3):
        await produce(topic, numbered(10), partition)
    await eventually(lambda: sum(len(member.records) for member in members) == 30, "every record is read once")
    for member in members:
        equal(values(member.records), numbered(10))
    await first.leave()
    await eventually(lambda: sorted(len(member.owned) for member in members[1:]) == [1, 2], "two members are left")
    await second.leave()
    await (await members[2].wait_until_assigned(3)).leave()


@scenario
async def a_static_member_returns_without_a_rebalance():
    async with started(admin()) as client:
        topic, group = await create(client), fresh("group")
    other = await (await Member(group, topic, group_instance_id="other").join()).wait_until_assigned(3)
    first = await Member(group, topic, group_instance_id="one").join()
    await eventually(lambda: other.owned and first.owned, "two members share")
    generations = other.generations
    await first.leave()
    again = await Member(group, topic, group_instance_id="one").join()
    await eventually(lambda: again.owned, "the member is back")
    equal(other.generations, generations)
    await again.leave()
    await other.leave()


@scenario
async def a_group_goes_on_where_it_has_committed():
    async with started(admin()) as client:
        topic, group = await create(client, partitions=1), fresh("group")
    await produce(topic, numbered(20))
    place = TopicPartition(topic, 0)
    async with started(consumer(topic, group=group)) as first:
        equal(values(await read(first, 10)), numbered(10))
        await first.commit()
        equal(await first.committed(place), 10)
    async with started(consumer(topic, group=group)) as second:
        equal(values(await read(second, 10)), numbered(10, start=10))
        await second.commit({place: (15, "halfway")})
    async with started(consumer(topic, group=group)) as third:
        equal(values(await read(third, 5)), numbered(5, start=15))
    async with started(admin()) as client:
        equal(await client.list_consumer_group_offsets(group), {place: OffsetAndMetadata(15, "halfway")})


@scenario
async def offsets_are_found_by_time():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
    async with started(producer()) as client:
        for number in range(10):
            await client.send_and_wait(topic, b"%d" % number, partition=0, timestamp_ms=1000 * (number + 1))
    place = TopicPartition(topic, 0)
    async with started(consumer()) as client:
        for timestamp, expected in [(1, (0, 1000)), (3000, (2, 3000)), (3001, (3, 4000)), (10000, (9, 10000))]:
            found = (await client.offsets_for_times({place: timestamp}))[place]
            equal((found.offset, found.timestamp), expected)
        equal(await client.offsets_for_times({place: 10001}), {place: None})
        equal(await client.beginning_offsets([place]), {place: 0})
        equal(await client.end_offsets([place]), {place: 10})


@scenario
async def lag_is_the_end_less_the_committed_offset():
    async with started(admin()) as client:
        topic, group = await create(client), fresh("group")
        places = [TopicPartition(topic, partition) for partition in range(3)]
        for place in places:
            await produce(topic, numbered(10 * (place.partition + 1)), place.partition)
        async with started(consumer(group=group)) as member:
            member.assign(places)
            await member.commit({place: 5 for place in places})
            ends = await member.end_offsets(places)
        committed = await client.list_consumer_group_offsets(group)
        equal([ends[place] - committed[place].offset for place in places], [5, 15, 25])


@scenario
async def the_cluster_is_described():
    async with started(admin()) as client:
        described = await client.describe_cluster()
        equal(len(described["cluster_id"]), 22)
        equal({"%s:%d" % (one["host"], one["port"]) for one in described["brokers"]}, set(SERVERS.split(",")))
        assert described["controller_id"] in [one["node_id"] for one in described["brokers"]]


async def described_config(client, topic):
    answer = (await client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)]))[0]
    code, _, _, _, entries = answer.resources[0]
    equal(code, 0)
    return {entry[0]: entry[1] for entry in entries}


@scenario
async def configs_are_described_and_altered():
    async with started(admin()) as client:
        topic = await create(client, retention_ms="1000000")
        described = await described_config(client, topic)
        equal((described["retention.ms"], described["cleanup.policy"]), ("1000000", "delete"))
        wanted = ConfigResource(ConfigResourceType.TOPIC, topic, {"segment.bytes": "1048576"})
        answer = (await client.alter_configs([wanted]))[0]
        equal(answer.resources[0][0], 0)

        async def is_altered():
            found = await described_config(client, topic)
            return (found["segment.bytes"], found["retention.ms"]) == ("1048576", "604800000")

        await eventually(is_altered, "the new configs")


@scenario
async def a_topic_gets_more_partitions():
    async with started(admin()) as client:
        topic = await create(client)
        await client.create_partitions({topic: NewPartitions(5)})
        await eventually(lambda: is_led(client, topic, 5), "all partitions are led")
        await produce(topic, numbered(3), 4)
        equal(values(await read_partition(topic, 4, 3)), numbered(3))
        await raises(InvalidPartitionsError, client.create_partitions({topic: NewPartitions(2)}))


@scenario
async def records_are_deleted_up_to_an_offset():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
        place = TopicPartition(topic, 0)
        await produce(topic, numbered(20))
        equal(await client.delete_records({place: RecordsToDelete(12)}), {place: 12})
        await raises(OffsetOutOfRangeError, client.delete_records({place: RecordsToDelete(21)}))
    equal(values(await read_partition(topic, 0, 8)), numbered(8, start=12))
    async with started(consumer(auto_offset_reset="none")) as strict:
        strict.assign([place])
        strict.seek(place, 3)
        await raises(OffsetOutOfRangeError, asyncio.wait_for(strict.getone(), LIMIT))


@scenario
async def groups_are_listed_and_described():
    async with started(admin()) as client:
        topic, group = await create(client), fresh("group")
        member = await (await Member(group, topic, client_id="somebody").join()).wait_until_assigned(3)
        assert (group, "consumer") in await client.list_consumer_groups()
        described = (await client.describe_consumer_groups([group]))[0].groups[0]
        equal((described[2], described[3], [one[1] for one in described[5]]), ("Stable", "consumer", ["somebody"]))
        await member.leave()
        described = (await client.describe_consumer_groups([group]))[0].groups[0]
        equal((described[2], described[5]), ("Empty", []))


@scenario
async def a_topic_is_deleted_and_made_anew():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
        await produce(topic, numbered(5))
        for _ in range(2):
            equal((await client.delete_topics([topic])).topic_error_codes, [(topic, 0)])

            async def is_gone():
                return topic not in await client.list_topics()

            await eventually(is_gone, "it is gone")
            equal(await outcome_of_create(client, NewTopic(topic, 1, 1)), "NoError")
            await eventually(lambda: is_led(client, topic, 1), "it is there again")
            equal((await produce(topic, [b"anew"]))[0].offset, 0)
            equal(values(await read_partition(topic, 0, 1)), [b"anew"])
        answer = await client.delete_topics([fresh("topic")])
        equal(for_code(answer.topic_error_codes[0][1]), UnknownTopicOrPartitionError)


@scenario
async def what_cannot_be_created_is_refused():
    async with started(admin()) as client:
        topic = await create(client)
        refused = [
            (NewTopic(topic, 1, 1), "TopicAlreadyExistsError"),
            (NewTopic("with space", 1, 1), "InvalidTopicError"),
            (NewTopic("x" * 250, 1, 1), "InvalidTopicError"),
            (NewTopic(fresh("topic"), 0, 1), "InvalidPartitionsError"),
            (NewTopic(fresh("topic"), 1, 100), "InvalidReplicationFactorError"),
            (NewTopic(fresh("topic"), 1, 1, topic_configs={"retention.ms": "often"}), "InvalidConfigurationError"),
        ]
        for new, error in refused:
            equal((new.name, await outcome_of_create(client, new)), (new.name, error))


@scenario
async def a_topic_that_nobody_created_is_unknown():
    async with started(producer(request_timeout_ms=1500)) as client:
        await raises((KafkaTimeoutError, UnknownTopicOrPartitionError), client.send_and_wait(fresh("topic"), b"v"))


@scenario
async def a_record_that_is_too_large_is_refused_and_the_next_is_not():
    async with started(admin()) as client:
        topic = await create(client, partitions=1, max_message_bytes="10000")
    async with started(producer()) as client:
        await raises(MessageSizeTooLargeError, client.send_and_wait(topic, b"x" * 20000, partition=0))
        await client.send_and_wait(topic, b"small", partition=0)
    equal(values(await read_partition(topic, 0, 1)), [b"small"])


@scenario
async def a_consumer_waits_for_what_is_not_there_yet():
    async with started(admin()) as client:
        topic = await create(client, partitions=1)
    async with started(consumer(fetch_max_wait_ms=5000)) as client:
        client.assign([TopicPartition(topic, 0)])
        waiting = asyncio.create_task(client.getone())
        await asyncio.sleep(0.3)
        began = time.monotonic()
        await produce(topic, [b"late"])
        equal((await asyncio.wait_for(waiting, LIMIT)).value, b"late")
        assert time.monotonic() - began < 4, "the parked fetch was not woken"


run()
