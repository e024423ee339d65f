"""What brokers keep in the service, read path by path with kazoo, against what Kafka's own brokers keep there.

ZOOKEEPER_CONNECT says where: its chroot included. The brokers are 1, 2, and one that was given its number.
See scenario.py for how to call it.
"""

import json
import os
import re

from kafka.admin import ConfigResource
from kazoo.client import KazooClient
from kazoo.security import OPEN_ACL_UNSAFE

from kafka_python import admin, consumer, create, numbered, produce
from scenario import LIMIT, SERVERS, equal, eventually, fresh, run, scenario

zookeeper = KazooClient(os.environ["ZOOKEEPER_CONNECT"])
zookeeper.start(LIMIT)

GIVEN = 1001
"""The number of the broker that had none: reserved.broker.max.id and one more."""
MILLISECONDS = re.compile(r"[0-9]{13}")
ID = re.compile(r"[A-Za-z0-9_-]{22}")

SHAPES = [
    "/", "/admin", "/admin/delete_topics", "/brokers", "/brokers/ids", r"/brokers/ids/\d+", "/brokers/seqid",
    "/brokers/topics", "/brokers/topics/[^/]+", "/brokers/topics/[^/]+/partitions",
    r"/brokers/topics/[^/]+/partitions/\d+", r"/brokers/topics/[^/]+/partitions/\d+/state", "/cluster", "/cluster/id",
    "/config", "/config/(brokers|changes|clients|ips|topics|users)", "/config/topics/[^/]+",
    r"/config/brokers/(\d+|<default>)", r"/config/changes/config_change_\d{10}", "/consumers", "/controller",
    "/controller_epoch", "/feature", "/isr_change_notification", "/latest_producer_id_block",
    "/log_dir_event_notification",
]
"""Every path that there may be."""


def stands(path, ephemeral=False):
    """The data of a znode that is there for good, or for as long as its broker; anybody may read and write it."""
    data, stat = zookeeper.get(path)
    equal((path, stat.ephemeralOwner != 0), (path, ephemeral))
    equal(zookeeper.get_acls(path)[0], OPEN_ACL_UNSAFE)
    return data


def payload(path, ephemeral=False):
    return json.loads(stands(path, ephemeral))


def state(topic, partition):
    return payload("/brokers/topics/%s/partitions/%d/state" % (topic, partition))


def put(path, value, **options):
    return zookeeper.create(path, json.dumps(value).encode(), **options)


def assigned(**partitions):
    """A topic with these replicas, the leader first: p0=[1, 2], .."""
    topic = fresh("topic")
    wanted = {int(name[1:]): replicas for name, replicas in partitions.items()}
    admin.create_topics({topic: {"assignments": wanted}}, wait_for_metadata=True)
    return topic


def matches(pattern, text):
    assert pattern.fullmatch(text), "%r is not a %s" % (text, pattern.pattern)


@scenario
def the_roots_are_there_and_empty():
    for root in [
        "/admin/delete_topics", "/brokers/ids", "/brokers/topics", "/config/brokers", "/config/changes",
        "/config/clients", "/config/ips", "/config/topics", "/config/users", "/consumers", "/isr_change_notification",
        "/log_dir_event_notification",
    ]:
        equal((root, stands(root)), (root, None))


@scenario
def the_cluster_has_an_id():
    found = payload("/cluster/id")
    equal(sorted(found), ["id", "version"])
    equal(found["version"], "1")
    matches(ID, found["id"])
    equal(admin.describe_cluster()["cluster_id"], found["id"])


@scenario
def brokers_are_registered_for_as_long_as_they_live():
    equal(sorted(map(int, zookeeper.get_children("/brokers/ids"))), [1, 2, GIVEN])
    addresses = set()
    for broker in [1, 2, GIVEN]:
        path = "/brokers/ids/%d" % broker
        found = payload(path, ephemeral=True)
        address = "%s:%d" % (found["host"], found["port"])
        matches(MILLISECONDS, found.pop("timestamp"))
        equal(found, {
            "version": 5,
            "host": "127.0.0.1",
            "port": found["port"],
            "endpoints": ["PLAINTEXT://" + address],
            "jmx_port": -1,
            "listener_security_protocol_map": {"PLAINTEXT": "PLAINTEXT"},
            "features": {},
            "rack": "rack-%d" % broker,
        })
        # Created empty and then set, in one transaction.
        equal(zookeeper.exists(path).version, 1)
        addresses.add(address)
    equal(addresses, set(SERVERS.split(",")))


@scenario
def a_broker_without_a_number_is_given_one():
    equal(zookeeper.exists("/brokers/seqid").version, 1)
    equal(stands("/brokers/seqid"), b"")


@scenario
def one_of_them_is_the_controller():
    found = payload("/controller", ephemeral=True)
    matches(MILLISECONDS, found.pop("timestamp"))
    equal(found, {"version": 2, "brokerid": admin.describe_cluster()["controller_id"], "kraftControllerEpoch": -1})
    epoch = int(stands("/controller_epoch"))
    # Created as 0.
    equal(zookeeper.exists("/controller_epoch").version, epoch)
    equal(payload("/feature"), {"version": 2, "status": 1, "features": {}})


@scenario
def another_is_elected_when_an_operator_deletes_it():
    before = int(stands("/controller_epoch"))
    zookeeper.delete("/controller")
    eventually(lambda: int(stands("/controller_epoch")) > before and zookeeper.exists("/controller"), "the next one")
    payload("/controller", ephemeral=True)


@scenario
def a_topic_has_its_assignment_its_states_and_its_config():
    topic = assigned(p0=[1, 2], p1=[2, 1])
    found = payload("/brokers/topics/" + topic)
    matches(ID, found.pop("topic_id"))
    equal(found, {
        "version": 3, "partitions": {"0": [1, 2], "1": [2, 1]}, "adding_replicas": {}, "removing_replicas": {},
    })
    equal(stands("/brokers/topics/%s/partitions" % topic), None)
    epoch = int(stands("/controller_epoch"))
    for partition, replicas in [(0, [1, 2]), (1, [2, 1])]:
        equal(stands("/brokers/topics/%s/partitions/%d" % (topic, partition)), None)
        equal(state(topic, partition), {
            "version": 1, "leader": replicas[0], "leader_epoch": 0, "controller_epoch": epoch, "isr": replicas,
        })
    # Written even if nothing is set.
    equal(payload("/config/topics/" + topic), {"version": 1, "config": {}})


@scenario
def more_partitions_are_added_to_what_is_there():
    topic = assigned(p0=[1, 2])
    admin.create_partitions({topic: {"count": 2, "assignments": [[2, 1]]}})
    eventually(lambda: payload("/brokers/topics/" + topic)["partitions"] == {"0": [1, 2], "1": [2, 1]}, "both")
    eventually(lambda: zookeeper.exists("/brokers/topics/%s/partitions/1/state" % topic), "its state")
    equal(state(topic, 1)["leader"], 2)


@scenario
def configs_are_text_and_a_change_leaves_a_note():
    topic = create(1, retention_ms="1000000")
    equal(payload("/config/topics/" + topic), {"version": 1, "config": {"retention.ms": "1000000"}})
    broker = str(payload("/controller", ephemeral=True)["brokerid"])
    for kind, name, entity, key, value in [
        ("TOPIC", topic, "topics/" + topic, "segment.bytes", "1048576"),
        ("BROKER", broker, "brokers/" + broker, "log.retention.ms", "7200000"),
    ]:
        before = set(zookeeper.get_children("/config/changes"))
        admin.alter_configs([ConfigResource(kind, name, {key: value})])
        found = payload("/config/" + entity)
        equal((found["version"], found["config"][key]), (1, value))
        (note,) = set(zookeeper.get_children("/config/changes")) - before
        matches(re.compile(r"config_change_[0-9]{10}"), note)
        equal(payload("/config/changes/" + note), {"version": 2, "entity_path": entity})


@scenario
def a_config_that_a_tool_wrote_into_the_service_takes_hold():
    topic, brokers = create(1), "/config/brokers/<default>"
    put(brokers, {"version": 1, "config": {"log.segment.bytes": "4242"}})
    zookeeper.set("/config/topics/" + topic, b'{"version":1,"config":{"retention.ms":"4242"}}')
    for entity in ["brokers/<default>", "topics/" + topic]:
        put("/config/changes/config_change_", {"version": 2, "entity_path": entity}, sequence=True)

    def described(kind, name, key):
        found = admin.describe_configs([ConfigResource(kind, name)], config_filter="all")
        return found[kind.lower()][name][key]["value"]

    for kind, name, key in [
        ("TOPIC", topic, "retention.ms"),
        ("TOPIC", topic, "segment.bytes"),
        ("BROKER", "1", "log.segment.bytes"),
        ("BROKER", "2", "log.segment.bytes"),
    ]:
        eventually(lambda: described(kind, name, key) == "4242", "the brokers know of it")


@scenario
def a_topic_that_a_tool_wrote_into_the_service_is_made():
    topic = fresh("topic")
    put("/brokers/topics/" + topic, {"version": 1, "partitions": {"0": [2, GIVEN]}})
    eventually(lambda: zookeeper.exists("/brokers/topics/%s/partitions/0/state" % topic), "its state")
    equal((state(topic, 0)["leader"], state(topic, 0)["isr"]), (2, [2, GIVEN]))
    admin.wait_for_topics([topic])
    equal(produce(topic, numbered(1))[0].offset, 0)


@scenario
def a_topic_that_is_deleted_leaves_nothing():
    by_client, by_tool = assigned(p0=[1, 2]), assigned(p0=[2, 1])
    admin.delete_topics([by_client])
    zookeeper.create("/admin/delete_topics/" + by_tool)
    for topic in [by_client, by_tool]:
        for path in ["/brokers/topics/", "/config/topics/", "/admin/delete_topics/"]:
            eventually(lambda: not zookeeper.exists(path + topic), path + topic + " is gone")
        eventually(lambda: topic not in admin.list_topics(), "no broker tells of it")


@scenario
def old_tools_move_partitions_and_elect_leaders_by_znodes():
    topic = assigned(p0=[1, 2], p1=[2, 1])
    produce(topic, numbered(10))
    moved = [{"topic": topic, "partition": 0, "replicas": [GIVEN, 2]}]
    put("/admin/reassign_partitions", {"version": 1, "partitions": moved})
    eventually(lambda: not zookeeper.exists("/admin/reassign_partitions"), "it is done")
    found = payload("/brokers/topics/" + topic)
    equal(found["partitions"]["0"], [GIVEN, 2])
    equal((found["adding_replicas"], found["removing_replicas"]), ({}, {}))
    eventually(lambda: sorted(state(topic, 0)["isr"]) == [2, GIVEN], "the new replicas are in sync")

    # The order of replicas says who is preferred.
    turned = [{"topic": topic, "partition": 1, "replicas": [1, 2]}]
    put("/admin/reassign_partitions", {"version": 1, "partitions": turned})
    eventually(lambda: not zookeeper.exists("/admin/reassign_partitions"), "it is done")
    before = state(topic, 1)
    wanted = [{"topic": topic, "partition": 1}]
    put("/admin/preferred_replica_election", {"version": 1, "partitions": wanted})
    eventually(lambda: not zookeeper.exists("/admin/preferred_replica_election"), "it is held")
    equal(state(topic, 1)["leader"], 1)
    assert state(topic, 1)["leader_epoch"] >= before["leader_epoch"]


@scenario
def notes_that_were_seen_are_taken_away():
    topic = assigned(p0=[1, 2])
    about = {"version": 1, "partitions": [{"topic": topic, "partition": 0}]}
    for path, note in [
        ("/isr_change_notification/isr_change_", about),
        ("/log_dir_event_notification/log_dir_event_", {"version": 1, "broker": 9, "event": 1}),
    ]:
        put(path, note, sequence=True)
        eventually(lambda: not zookeeper.get_children(os.path.dirname(path)), path + " is taken away")


@scenario
def idempotent_producers_have_numbers_out_of_blocks():
    topic = create(1)
    produce(topic, numbered(1), enable_idempotence=True)
    found = payload("/latest_producer_id_block")
    assert found.pop("broker") in [1, 2, GIVEN]
    first, last = int(found["block_start"]), int(found["block_end"])
    equal(found, {"version": 1, "block_start": str(first), "block_end": str(first + 999)})
    equal((first % 1000, last % 1000), (0, 999))


@scenario
def groups_have_their_offsets_in_a_topic():
    client = consumer(fresh("group"), create(1))
    eventually(lambda: client.poll(100) == {} and client.assignment(), "it has joined")
    client.commit()
    client.close()
    found = payload("/brokers/topics/__consumer_offsets")
    equal(len(found["partitions"]), 5)
    config = payload("/config/topics/__consumer_offsets")["config"]
    equal(config, {"cleanup.policy": "compact", "compression.type": "producer", "segment.bytes": "104857600"})


@scenario
def there_is_nothing_that_kafka_does_not_have():
    shapes = [re.compile(shape) for shape in SHAPES]

    def visit(path):
        assert any(shape.fullmatch(path) for shape in shapes), path
        for child in zookeeper.get_children(path):
            visit(path.rstrip("/") + "/" + child)

    visit("/")


run()
