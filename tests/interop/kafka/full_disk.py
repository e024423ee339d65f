"""A producer and a consumer of a broker whose disk fills up: full_disk.py HOST:PORT.

Says "ready", "full" when records are refused, and "room" when they are taken again; each time it has read all that it was
promised, and goes on when a line comes by standard input.
"""

import sys

from kafka.errors import KafkaError, KafkaStorageError

from kafka_python import Producer, create, read_everything
from scenario import LIMIT, eventually

VALUE = b"." * 10_000
TOPIC = create(1)
acknowledged = {}


def produce(client):
    number = len(acknowledged)
    offset = client.send(TOPIC, VALUE, b"%d" % number, partition=0).get(LIMIT).offset
    assert offset not in acknowledged, "offset %d was given out twice" % offset
    acknowledged[offset] = number


def check():
    """Whatever was acknowledged is there."""
    found = {record.offset: record for record in read_everything(TOPIC)}
    assert all(record.value == VALUE for record in found.values())
    lost = [
        offset
        for offset, number in acknowledged.items()
        if offset not in found or found[offset].key != b"%d" % number
    ]
    assert not lost, "lost: %s" % lost


def is_taken(client):
    try:
        produce(client)
        return True
    except KafkaError:
        return False


def say(word):
    check()
    print("%s %d" % (word, len(acknowledged)), flush=True)
    sys.stdin.readline()


with Producer(acks="all", retries=0, enable_idempotence=False, batch_size=0) as client:
    for _ in range(100):
        produce(client)
    say("ready")
    try:
        for _ in range(100_000):
            produce(client)
        raise AssertionError("the disk does not fill up")
    except KafkaStorageError:
        say("full")
    eventually(lambda: is_taken(client), "there is room again")
    for _ in range(100):
        produce(client)
    say("room")
check()
