"""What kcat's users do, each step asserting what it sees. See scenario.py for how to call it.

kcat creates a topic by asking for it: the broker must be one that allows that."""

import json
import subprocess
import tempfile
import threading

from scenario import CODECS, LIMIT, SERVERS, equal, eventually, fresh, run, scenario


def kcat(*arguments, input=b"", code=0):
    """Runs kcat to its end; gives what it wrote to standard output, or to standard error if it is to fail."""
    command = ["kcat", "-b", SERVERS, *map(str, arguments)]
    done = subprocess.run(command, input=input, capture_output=True, timeout=LIMIT)
    assert done.returncode == code, "%s ended with %d: %s" % (command, done.returncode, done.stderr.decode())
    return done.stdout if code == 0 else done.stderr.decode()


def produce(topic, lines, *options):
    kcat("-P", "-t", topic, *options, input=b"".join(line + b"\n" for line in lines))


def read(topic, *options):
    """All of a topic's values, up to its end."""
    return kcat("-C", "-t", topic, "-e", "-q", *options).splitlines()


def numbered(count, start=0):
    return [b"%d" % number for number in range(start, start + count)]


class Member:
    """kcat as a member of a group, until it leaves."""

    def __init__(self, group, topic):
        options = ["-X", "auto.offset.reset=earliest", "-X", "session.timeout.ms=6000", "-X", "heartbeat.interval.ms=200"]
        self.errors = tempfile.TemporaryFile()
        command = ["kcat", "-b", SERVERS, *options, "-u", "-G", group, topic]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.errors)
        self.lines = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        self.lines.extend(line.rstrip() for line in self.process.stdout)

    def owned(self):
        """The partitions it was assigned last: `% Group g rebalanced (..): assigned: t [0], t [1]`."""
        self.errors.seek(0)
        told = [line for line in self.errors.read().decode().splitlines() if "rebalanced" in line]
        return told[-1].count("[") if told and "assigned:" in told[-1] else 0

    def leave(self):
        self.process.terminate()
        equal(self.process.wait(LIMIT), 0)


@scenario
def a_topic_is_created_by_producing_to_it_and_listed():
    topic = fresh("topic")
    produce(topic, numbered(3))
    described = json.loads(kcat("-L", "-J", "-t", topic))
    equal([one["topic"] for one in described["topics"]], [topic])
    for partition in described["topics"][0]["partitions"]:
        equal(partition["isrs"], partition["replicas"])
    brokers = {broker["id"]: broker["name"] for broker in described["brokers"]}
    equal(set(brokers.values()), set(SERVERS.split(",")))
    assert described["controllerid"] in brokers
    equal(read(topic), numbered(3))


@scenario
def keys_headers_and_timestamps_come_back():
    topic = fresh("topic")
    produce(topic, [b"k=v", b"n="], "-K", "=", "-Z", "-H", "h=1", "-H", "i=2")
    told = kcat("-C", "-t", topic, "-e", "-q", "-f", "%k %s %S %h %o\n").decode().splitlines()
    equal(told, ["k v 1 h=1,i=2 0", "n  -1 h=1,i=2 1"])
    stamped = json.loads(kcat("-C", "-t", topic, "-e", "-q", "-J", "-c", 1))
    equal((stamped["tstype"], stamped["ts"] > 1600000000000), ("create", True))


@scenario
def messages_of_every_codec_come_back():
    topic, sent = fresh("topic"), []
    for codec in ["none"] + CODECS:
        batch = [b"%s %d " % (codec.encode(), number) * 40 for number in range(200)]
        produce(topic, batch, "-z", codec)
        sent += batch
    equal(read(topic), sent)


@scenario
def every_acks_is_accepted():
    topic = fresh("topic")
    for acks in [1, 0, "all"]:
        produce(topic, numbered(20), "-X", "acks=%s" % acks)
    equal(read(topic), numbered(20) * 3)


@scenario
def an_idempotent_producer_keeps_the_order():
    topic = fresh("topic")
    produce(topic, numbered(500), "-X", "enable.idempotence=true", "-X", "batch.num.messages=7")
    equal(read(topic), numbered(500))


@scenario
def a_part_of_a_topic_is_read():
    topic = fresh("topic")
    produce(topic, numbered(20))
    equal(read(topic, "-o", 15), numbered(5, start=15))
    equal(read(topic, "-o", -3), numbered(3, start=17))
    equal(read(topic, "-o", "beginning", "-c", 2), numbered(2))
    equal(read(topic, "-o", "end"), [])


@scenario
def offsets_are_found_by_time():
    topic = fresh("topic")
    produce(topic, numbered(4))
    stamps = [int(line) for line in read(topic, "-f", "%T\n")]
    told = kcat("-Q", "-t", "%s:0:1" % topic, "-t", "%s:1:1" % fresh("no")).decode()
    assert "%s [0] offset 0" % topic in told, told
    later = kcat("-Q", "-t", "%s:0:%d" % (topic, stamps[-1] + 1)).decode()
    equal(later.strip(), "%s [0] offset -1" % topic)
    equal(read(topic, "-o", "s@%d" % stamps[0]), numbered(4))


@scenario
def members_share_a_topic_and_go_on_where_they_have_committed():
    topic, group = fresh("topic"), fresh("group")
    produce(topic, numbered(10))
    first = Member(group, topic)
    eventually(lambda: first.lines == numbered(10), "all is read")
    eventually(lambda: first.owned() == 1, "it has the partition")
    second = Member(group, topic)
    eventually(lambda: sorted([first.owned(), second.owned()]) == [0, 1], "one of them has it")
    produce(topic, numbered(10, start=10))
    eventually(lambda: first.lines + second.lines == numbered(20), "the rest is read once")
    first.leave()
    eventually(lambda: second.owned() == 1, "the other has it")
    second.leave()
    produce(topic, [b"last"])
    third = Member(group, topic)
    eventually(lambda: third.lines == [b"last"], "what was committed is not read again")
    third.leave()


@scenario
def what_the_broker_refuses_is_told():
    topic = fresh("topic")
    produce(topic, numbered(1))
    large = ["-X", "message.max.bytes=10000000"]
    told = kcat("-P", "-t", topic, *large, input=b"x" * 2000000, code=1)
    assert "Message size too large" in told, told
    told = kcat("-C", "-t", topic, "-p", 7, "-e", code=1)
    assert "partition 7 does not exist" in told, told
    told = kcat("-P", "-t", "no such name", "-X", "message.timeout.ms=2000", input=b"v\n", code=1)
    assert "Invalid topic" in told, told
    equal(read(topic), numbered(1))


run()
