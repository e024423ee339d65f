"""What retention and compaction leave on small segments, as a consumer finds it that reads everything.

Each record carries the offset at which its producer was told that it stands, so that a consumer sees whether it still does.
See scenario.py for how to call it.
"""

import random
import threading
import time

from kafka import TopicPartition
from kafka.admin import ConfigResource
from kafka.errors import InvalidRecordError

from kafka_python import Producer, admin, consumer, create, produce, read_everything
from scenario import CODECS, LIMIT, equal, eventually, raises, run, scenario

SEGMENT = 10_000
PADDING = b"." * 900
HOUR_MS = 3_600_000


def small_segments(**configs):
    """A topic of one partition."""
    return create(1, segment_bytes=str(SEGMENT), file_delete_delay_ms="100", **configs)


def fill(topic, count, timestamp_ms=None):
    """Ten records, more or less, to a segment."""
    with Producer(batch_size=0) as client:
        sent = [client.send(topic, PADDING, partition=0, timestamp_ms=timestamp_ms) for _ in range(count)]
        return [future.get(LIMIT).offset for future in sent]


def first_offset(topic):
    client = consumer()
    (first,) = client.beginning_offsets([TopicPartition(topic, 0)]).values()
    client.close()
    return first


def stored_bytes(topic):
    (broker,) = admin.describe_log_dirs({topic: [0]})
    (size,) = [
        partition["partition_size"]
        for log_dir in broker["log_dirs"]
        for found in log_dir["topics"]
        for partition in found["partitions"]
    ]
    return size


def offsets(records):
    return [record.offset for record in records]


@scenario
def by_size_the_oldest_segments_go():
    topic = small_segments(retention_bytes="50000")
    # It begins at the first record, and is carried along when that goes.
    slow = consumer()
    slow.assign([TopicPartition(topic, 0)])
    equal(fill(topic, 200), list(range(200)))
    eventually(lambda: stored_bytes(topic) < 50_000 + SEGMENT, "all but what is kept is gone")
    first = first_offset(topic)
    equal(offsets(read_everything(topic)), list(range(first, 200)))
    assert stored_bytes(topic) >= 50_000, "more than was to go has gone"
    read = []
    eventually(lambda: read.extend(sum(slow.poll(500).values(), [])) or 199 in offsets(read), "the end")
    equal(offsets(read)[-(200 - first):], list(range(first, 200)))
    slow.close()


@scenario
def by_time_the_segments_go_whose_last_record_is_too_old():
    topic = small_segments(retention_ms=str(HOUR_MS))
    now = int(time.time() * 1000)
    fill(topic, 100, now - 2 * HOUR_MS)
    fill(topic, 50, now)
    # A segment that holds old records and one new one stays.
    eventually(lambda: 100 - SEGMENT // len(PADDING) < first_offset(topic) <= 100, "the old segments go")
    first = first_offset(topic)
    equal(offsets(read_everything(topic)), list(range(first, 150)))


@scenario
def when_everything_is_too_old_nothing_is_left_but_the_offset():
    topic = small_segments(retention_ms=str(HOUR_MS))
    fill(topic, 25, int(time.time() * 1000) - 2 * HOUR_MS)
    eventually(lambda: first_offset(topic) == 25, "all is gone")
    equal(read_everything(topic), [])
    equal(produce(topic, [b"next"])[0].offset, 25)
    equal(offsets(read_everything(topic)), [25])


@scenario
def a_shorter_retention_takes_hold_at_once():
    topic = small_segments()
    fill(topic, 100)
    equal(len(read_everything(topic)), 100)
    admin.alter_configs([ConfigResource("TOPIC", topic, {"retention.bytes": "20000"})])
    eventually(lambda: stored_bytes(topic) < 20_000 + SEGMENT, "the old segments go")
    first = first_offset(topic)
    equal(offsets(read_everything(topic)), list(range(first, 100)))


class Table:
    """A compacted topic, and what it is to hold."""

    def __init__(self, seed, **configs):
        self.random = random.Random(seed)
        self.topic = small_segments(cleanup_policy="compact", min_cleanable_dirty_ratio="0.01", **configs)
        self.written = {}
        self.newest = {}

    def change(self, count, keys=40):
        """Sets and deletes keys, in batches of every size and codec."""
        while count > 0:
            codec = self.random.choice([None] + CODECS)
            some = self.random.randint(1, min(count, 60))
            count -= some
            with Producer(compression_type=codec, linger_ms=5) as client:
                pending = []
                for _ in range(some):
                    key = b"key-%d" % self.random.randrange(keys)
                    value = None if self.random.random() < 0.2 else self.random.randbytes(self.random.randint(0, 300))
                    pending.append((key, value, client.send(self.topic, value, key, partition=0)))
                for key, value, future in pending:
                    self.stands(future.get(4 * LIMIT).offset, key, value)

    def push(self):
        """Closes the segments written so far: the one that is being written is never compacted."""
        with Producer(batch_size=0) as client:
            for _ in range(2 * SEGMENT // len(PADDING)):
                offset = client.send(self.topic, PADDING, b"push", partition=0).get(4 * LIMIT).offset
                self.stands(offset, b"push", PADDING)

    def stands(self, offset, key, value):
        assert offset not in self.written, "offset %d was given out twice" % offset
        self.written[offset] = (key, value)
        if offset >= self.newest.get(key, (0,))[0]:
            self.newest[key] = (offset, value)

    def check(self, records):
        """Records of a reader who began at the first offset: whatever was compacted meanwhile, this holds."""
        found = offsets(records)
        equal(found, sorted(set(found)))
        for record in records:
            equal((record.key, record.value), self.written[record.offset])
        seen = {record.key: record.value for record in records}
        for key, (_, value) in self.newest.items():
            equal((key, seen.get(key)), (key, value))

    def is_compacted(self, keeps_tombstones):
        """Pushes, and tells whether all that was changed before is down to a record for each key."""
        self.push()
        records = read_everything(self.topic)
        self.check(records)
        left = sorted(record.offset for record in records if record.key != b"push")
        wanted = sorted(
            offset
            for key, (offset, value) in self.newest.items()
            if key != b"push" and (keeps_tombstones or value is not None)
        )
        return left == wanted


@scenario
def the_newest_value_of_each_key_stays_at_its_offset():
    table = Table(1, delete_retention_ms="100")
    for _ in range(3):
        table.change(400)
        eventually(lambda: table.is_compacted(keeps_tombstones=False), "only the newest values, and no tombstone")


@scenario
def tombstones_stay_for_as_long_as_they_are_to():
    table = Table(2, delete_retention_ms=str(24 * HOUR_MS))
    for _ in range(2):
        table.change(400)
        eventually(lambda: table.is_compacted(keeps_tombstones=True), "the newest values and tombstones")
        assert table.is_compacted(keeps_tombstones=True), "they are still there after another round"


@scenario
def readers_see_every_key_while_the_log_is_compacted():
    table = Table(3, delete_retention_ms=str(24 * HOUR_MS))
    table.change(300)
    stop, passes, failures = threading.Event(), [], []

    def reader():
        while not stop.is_set():
            try:
                before = dict(table.newest)
                records = read_everything(table.topic)
                seen = {record.key: record.offset for record in records}
                for key, (offset, _) in before.items():
                    assert seen.get(key, -1) >= offset, "%s, which stood at %d, was not seen" % (key, offset)
                passes.append(len(records))
            except Exception as error:
                failures.append(error)
                return

    threads = [threading.Thread(target=reader) for _ in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(6):
        table.change(100)
        table.push()
    stop.set()
    for thread in threads:
        thread.join(4 * LIMIT)
    assert not failures, failures
    assert len(passes) > 2, passes
    eventually(lambda: table.is_compacted(keeps_tombstones=True), "only the newest values")


@scenario
def what_is_too_old_goes_though_it_is_the_newest_of_its_key():
    topic = small_segments(
        cleanup_policy="compact,delete", retention_ms=str(HOUR_MS), min_cleanable_dirty_ratio="0.01"
    )
    now = int(time.time() * 1000)
    with Producer(batch_size=0) as client:

        def put(key, timestamp_ms):
            return client.send(topic, PADDING, key, partition=0, timestamp_ms=timestamp_ms).get(LIMIT).offset

        first = put(b"old-0", now - 2 * HOUR_MS)
        for number in range(1, 30):
            put(b"old-%d" % number, now - 2 * HOUR_MS)
        for number in range(60):
            put(b"new-%d" % (number % 10), now)

        def is_clean():
            last = put(b"new-0", now)
            left = read_everything(topic)
            keys = [record.key for record in left if record.offset < last - SEGMENT // len(PADDING)]
            return first not in offsets(left) and len(keys) == len(set(keys))

        eventually(is_clean, "each key once, and none of the oldest")
    assert {b"new-%d" % number for number in range(10)} <= {record.key for record in read_everything(topic)}


@scenario
def a_record_without_a_key_is_refused_where_keys_are_what_counts():
    topic = small_segments(cleanup_policy="compact")
    with Producer(enable_idempotence=False) as client:
        raises(InvalidRecordError, client.send(topic, b"v", partition=0).get, LIMIT)
        equal(client.send(topic, b"v", b"k", partition=0).get(LIMIT).offset, 0)


run()
