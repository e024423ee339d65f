"""kafka-python's clients, as the scenarios use them."""

import time

from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition

from scenario import LIMIT, SERVERS, equal, eventually, fresh

admin = KafkaAdminClient(bootstrap_servers=SERVERS.split(","))


def create(partitions=3, **configs):
    topic = fresh("topic")
    named = {name.replace("_", "."): value for name, value in configs.items()}
    wanted = {"num_partitions": partitions, "replication_factor": 1, "configs": named}
    admin.create_topics({topic: wanted}, wait_for_metadata=True)
    return topic


class Producer:
    """A producer that is closed in the end."""

    def __init__(self, **options):
        self.client = KafkaProducer(bootstrap_servers=SERVERS.split(","), **options)

    def __enter__(self):
        return self.client

    def __exit__(self, *_):
        self.client.close(timeout=LIMIT)


def produce(topic, values, partition=0, **options):
    """Produces values to one partition; gives what was acknowledged for each."""
    with Producer(**options) as client:
        sent = [client.send(topic, value=value, partition=partition) for value in values]
        return [future.get(LIMIT) for future in sent]


def consumer(group=None, *topics, **options):
    options = {"auto_offset_reset": "earliest", "enable_auto_commit": False, **options}
    if group:
        options = {"session_timeout_ms": 6000, "heartbeat_interval_ms": 200, **options}
    return KafkaConsumer(*topics, bootstrap_servers=SERVERS.split(","), group_id=group, **options)


def read(client, count):
    """Polls until there are so many records."""
    records = []

    def enough():
        for some in client.poll(timeout_ms=1000 * LIMIT).values():
            records.extend(some)
        return len(records) >= count

    eventually(enough, "%d records" % count)
    equal(len(records), count)
    return records


def read_partition(topic, partition, count, **options):
    client = consumer(**options)
    client.assign([TopicPartition(topic, partition)])
    records = read(client, count)
    client.close()
    return records


def read_everything(topic):
    """All records of a topic of one partition, from the first offset that there is to the end."""
    partition = TopicPartition(topic, 0)
    client = consumer()
    client.assign([partition])
    client.seek_to_beginning(partition)
    (end,) = client.end_offsets([partition]).values()
    records, deadline = [], time.monotonic() + LIMIT
    while client.position(partition) < end:
        assert time.monotonic() < deadline, "stuck at %d of %d" % (client.position(partition), end)
        for some in client.poll(timeout_ms=500).values():
            records.extend(some)
    client.close()
    return records


def values(records):
    return [record.value for record in records]


def numbered(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]
