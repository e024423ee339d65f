"""Load on a cluster under faults: an idempotent producer with acks=all, and in the end a look at all that stands there.

    load.py TOPIC HOST:PORT[,HOST:PORT..]

Produces numbers, each to the partition of its rest, until standard input ends; "?" there asks how many are acknowledged, and how
long the longest time without an acknowledgement was since it was asked last. Then reads everything, and ends with 0 if
every acknowledged number stands where it was said to be, none twice, and all in their order.
"""

import sys
import threading
import time

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

TOPIC, SERVERS = sys.argv[1:]
PATIENCE = 120
"""Seconds for a record to be acknowledged, and for a partition to be read."""
AHEAD = 500
"""Records that wait for their acknowledgement at most."""


class Load:
    def __init__(self):
        self.acknowledged = {}  # By partition: (offset, number).
        self.count = 0
        self.gap = 0.0
        self.last = time.monotonic()
        self.errors = []
        self.stopping = False
        self.lock = threading.Lock()
        self.producer = Producer({
            "bootstrap.servers": SERVERS,
            "enable.idempotence": True,
            "linger.ms": 2,
            # A broker that stands still is given up: what is under way to it goes nowhere else before.
            "socket.timeout.ms": 10_000,
            "message.timeout.ms": PATIENCE * 1000,
            "queue.buffering.max.messages": AHEAD,
            "error_cb": lambda error: None,
            "log_level": 0,
        })
        self.partitions = len(self.producer.list_topics(TOPIC, PATIENCE).topics[TOPIC].partitions)

    def on_delivery(self, error, message):
        now = time.monotonic()
        with self.lock:
            if error is not None:
                self.errors.append(str(error))
                return
            self.gap, self.last = max(self.gap, now - self.last), now
            self.count += 1
            told = self.acknowledged.setdefault(message.partition(), [])
            told.append((message.offset(), int(message.value())))

    def produce(self):
        number = 0
        while not self.stopping:
            try:
                partition = number % self.partitions
                self.producer.produce(TOPIC, str(number), partition=partition, on_delivery=self.on_delivery)
                number += 1
                self.producer.poll(0)
            except BufferError:
                self.producer.poll(0.01)
        self.producer.flush(PATIENCE)

    def tell(self):
        with self.lock:
            gap = max(self.gap, time.monotonic() - self.last)
            self.gap = 0.0
            print("%d %d" % (self.count, gap * 1000), flush=True)

    def check(self):
        assert not self.errors, "%d not acknowledged: %s" % (len(self.errors), self.errors[:3])
        for partition in range(self.partitions):
            found = read(partition)
            told = self.acknowledged.get(partition, [])
            stands = dict(found)
            lost = [record for record in told if stands.get(record[0]) != record[1]]
            assert not lost, "partition %d has lost %d of %d: %s" % (partition, len(lost), len(told), lost[:5])
            numbers = [number for _, number in found]
            assert len(numbers) == len(set(numbers)), "partition %d has some twice" % partition
            assert numbers == sorted(numbers), "partition %d is out of order" % partition


def read(partition):
    consumer = Consumer({
        "bootstrap.servers": SERVERS,
        "group.id": "load-check",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
    })
    consumer.assign([TopicPartition(TOPIC, partition, 0)])
    found, deadline = [], time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        message = consumer.poll(1)
        if message is None:
            continue
        if message.error() is None:
            found.append((message.offset(), int(message.value())))
        elif message.error().code() == KafkaError._PARTITION_EOF:
            consumer.close()
            return found
        elif message.error().fatal():
            raise KafkaException(message.error())
    raise AssertionError("partition %d is not read to its end" % partition)


load = Load()
thread = threading.Thread(target=load.produce)
thread.start()
for _ in sys.stdin:
    load.tell()
load.stopping = True
thread.join()
load.check()
print("%d acknowledged, all there" % load.count)
