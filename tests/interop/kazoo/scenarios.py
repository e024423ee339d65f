"""What kazoo's users do: every recipe and the client's own calls, each asserting what it sees.

    scenarios.py HOST:PORT

Ends with 0 if all scenarios pass; names those that do not.
"""

import sys
import threading
import time
import traceback

from kazoo.client import KazooClient, KazooState
from kazoo.exceptions import (
    BadVersionError,
    InvalidACLError,
    NoAuthError,
    NoChildrenForEphemeralsError,
    NodeExistsError,
    NoNodeError,
    NotEmptyError,
    RolledBackError,
    RuntimeInconsistency,
)
from kazoo.protocol.states import EventType
from kazoo.recipe.barrier import Barrier, DoubleBarrier
from kazoo.recipe.cache import TreeCache
from kazoo.recipe.party import ShallowParty
from kazoo.recipe.watchers import PatientChildrenWatch
from kazoo.security import make_acl, make_digest_acl

LIMIT = 20
SERVER = sys.argv[1]
SCENARIOS = []


def scenario(function):
    SCENARIOS.append(function)
    return function


def connect(**options):
    client = KazooClient(hosts=SERVER, timeout=5, **options)
    client.start(LIMIT)
    return client


class clients:
    """As many connected clients as asked for, stopped in the end."""

    def __init__(self, count=1, **options):
        self.count, self.options = count, options

    def __enter__(self):
        self.opened = [connect(**self.options) for _ in range(self.count)]
        return self.opened[0] if self.count == 1 else self.opened

    def __exit__(self, *_):
        for client in self.opened:
            client.stop()
            client.close()


def eventually(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "never: " + what
        time.sleep(0.01)


def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error:
        return
    raise AssertionError("%s was not raised" % error.__name__)


def in_thread(function, *arguments):
    thread = threading.Thread(target=function, args=arguments, daemon=True)
    thread.start()
    return thread


def joined(*threads):
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive(), "a thread is stuck"


@scenario
def znodes(zk_path="/znodes"):
    with clients() as zk:
        assert zk.create(zk_path, b"one") == zk_path
        raises(NodeExistsError, zk.create, zk_path)
        raises(NoNodeError, zk.create, zk_path + "/no/parent")
        assert zk.ensure_path(zk_path + "/deep/er")
        path, stat = zk.create(zk_path + "/stat", b"four", include_data=True)
        assert (path, stat.dataLength, stat.version) == (zk_path + "/stat", 4, 0)
        assert zk.create(zk_path + "/n-", sequence=True).endswith("/n-0000000002")
        assert zk.get(zk_path)[0] == b"one"
        assert zk.set(zk_path, b"two", version=0).version == 1
        raises(BadVersionError, zk.set, zk_path, b"x", version=0)
        assert sorted(zk.get_children(zk_path)) == ["deep", "n-0000000002", "stat"]
        children, stat = zk.get_children(zk_path, include_data=True)
        assert len(children) == stat.numChildren == 3
        assert zk.exists(zk_path + "/nope") is None
        raises(NotEmptyError, zk.delete, zk_path)
        raises(BadVersionError, zk.delete, zk_path + "/stat", version=9)
        assert zk.sync(zk_path) == zk_path
        zk.delete(zk_path, recursive=True)
        assert zk.exists(zk_path) is None


@scenario
def ephemerals_go_with_their_session(zk_path="/ephemerals"):
    with clients() as watcher:
        watcher.ensure_path(zk_path)
        owner = connect()
        owner.create(zk_path + "/e", ephemeral=True)
        assert watcher.get(zk_path + "/e")[1].ephemeralOwner == owner.client_id[0]
        raises(NoChildrenForEphemeralsError, owner.create, zk_path + "/e/child")
        gone = threading.Event()
        watcher.exists(zk_path + "/e", watch=lambda event: event.type == EventType.DELETED and gone.set())
        owner.stop()
        assert gone.wait(LIMIT), "the ephemeral is still there"


@scenario
def transactions(zk_path="/transactions"):
    with clients() as zk:
        zk.create(zk_path, b"")
        good = zk.transaction()
        good.create(zk_path + "/a", b"1")
        good.set_data(zk_path + "/a", b"2")
        good.check(zk_path + "/a", version=1)
        good.create(zk_path + "/s-", sequence=True)
        good.delete(zk_path + "/a", version=1)
        created, stat, checked, sequential, deleted = good.commit()
        assert created == zk_path + "/a" and stat.version == 1 and checked is True and deleted is True
        assert zk.get_children(zk_path) == [sequential.rsplit("/", 1)[1]]

        bad = zk.transaction()
        bad.create(zk_path + "/b")
        bad.check(zk_path + "/b", version=7)
        bad.create(zk_path + "/c")
        results = [type(result) for result in bad.commit()]
        assert results == [RolledBackError, BadVersionError, RuntimeInconsistency], results
        assert zk.exists(zk_path + "/b") is None


@scenario
def watches_fire_once_and_in_order(zk_path="/watches"):
    with clients(2) as (zk, other):
        seen = []
        zk.exists(zk_path, watch=seen.append)
        other.create(zk_path, b"0")
        eventually(lambda: len(seen) == 1, "created")
        zk.get(zk_path, watch=seen.append)
        other.set(zk_path, b"1")
        eventually(lambda: len(seen) == 2, "changed")
        other.set(zk_path, b"2")
        zk.get_children(zk_path, watch=seen.append)
        other.create(zk_path + "/child")
        eventually(lambda: len(seen) == 3, "a child")
        zk.get(zk_path + "/child", watch=seen.append)
        other.delete(zk_path + "/child")
        eventually(lambda: len(seen) == 4, "deleted")
        assert [event.type for event in seen] == ["CREATED", "CHANGED", "CHILD", "DELETED"], seen


@scenario
def data_and_children_watches(zk_path="/watchers"):
    with clients(2) as (zk, other):
        values, lists = [], []
        zk.DataWatch(zk_path, lambda data, stat: values.append(data))
        eventually(lambda: values == [None], "the missing znode")
        other.create(zk_path, b"a")
        eventually(lambda: values[-1] == b"a", "created")
        zk.ChildrenWatch(zk_path, lambda children: lists.append(sorted(children)))
        other.set(zk_path, b"b")
        eventually(lambda: values[-1] == b"b", "changed")
        for name in ("x", "y"):
            other.create(zk_path + "/" + name)
            eventually(lambda: name in lists[-1], "child " + name)
        other.delete(zk_path, recursive=True)
        eventually(lambda: values[-1] is None, "deleted")


@scenario
def patient_children_watch(zk_path="/patient"):
    with clients() as zk:
        zk.ensure_path(zk_path + "/one")
        children, changed = PatientChildrenWatch(zk, zk_path, time_boundary=0.2).start().get(timeout=LIMIT)
        assert children == ["one"]
        zk.create(zk_path + "/two")
        changed.wait(LIMIT)
        assert changed.ready()


@scenario
def tree_cache(zk_path="/cache"):
    with clients(2) as (zk, other):
        zk.ensure_path(zk_path)
        cache = TreeCache(zk, zk_path)
        cache.start()
        other.ensure_path(zk_path + "/a/b")
        other.set(zk_path + "/a/b", b"deep")
        eventually(lambda: getattr(cache.get_data(zk_path + "/a/b"), "data", None) == b"deep", "cached")
        other.delete(zk_path + "/a", recursive=True)
        eventually(lambda: cache.get_data(zk_path + "/a") is None, "forgotten")
        cache.close()


@scenario
def locks(zk_path="/lock"):
    with clients(3) as opened:
        inside, most, turns = [], [], []

        def work(zk, name):
            lock = zk.Lock(zk_path, name)
            for _ in range(5):
                with lock:
                    inside.append(name)
                    most.append(len(inside))
                    turns.append(name)
                    inside.remove(name)

        joined(*[in_thread(work, zk, str(number)) for number, zk in enumerate(opened)])
        assert len(turns) == 15 and max(most) == 1, (turns, most)
        first, second = opened[0].Lock(zk_path, "holder"), opened[1].Lock(zk_path, "waiter")
        assert first.acquire()
        assert not second.acquire(blocking=False)
        assert first.contenders() == ["holder"]
        opened[0].stop()
        assert second.acquire(timeout=LIMIT), "the lock did not go with its session"
        second.release()


@scenario
def read_write_locks(zk_path="/rwlock"):
    with clients(2) as (one, other):
        readers = one.ReadLock(zk_path, "r1"), other.ReadLock(zk_path, "r2")
        assert all(lock.acquire(timeout=LIMIT) for lock in readers)
        writer = other.WriteLock(zk_path, "w")
        assert not writer.acquire(blocking=False)
        for lock in readers:
            lock.release()
        assert writer.acquire(timeout=LIMIT)
        assert not one.ReadLock(zk_path, "r3").acquire(blocking=False)
        writer.release()


@scenario
def semaphore(zk_path="/semaphore"):
    with clients(3) as (a, b, c):
        leases = [zk.Semaphore(zk_path, name, max_leases=2) for zk, name in ((a, "a"), (b, "b"), (c, "c"))]
        assert leases[0].acquire() and leases[1].acquire()
        assert not leases[2].acquire(blocking=False)
        assert sorted(leases[0].lease_holders()) == ["a", "b"]
        leases[0].release()
        assert leases[2].acquire(timeout=LIMIT)


@scenario
def election(zk_path="/election"):
    with clients(2) as (one, other):
        led, release = [], threading.Event()

        def lead(name):
            led.append(name)
            release.wait(LIMIT)

        first = one.Election(zk_path, "first")
        thread = in_thread(first.run, lead, "first")
        eventually(lambda: led == ["first"], "the first leader")
        second = other.Election(zk_path, "second")
        waiting = in_thread(second.run, lead, "second")
        eventually(lambda: second.contenders() == ["first", "second"], "both contend")
        assert led == ["first"]
        release.set()
        joined(thread, waiting)
        assert led == ["first", "second"]


@scenario
def queues(zk_path="/queue"):
    with clients(2) as (zk, other):
        queue = zk.Queue(zk_path + "/plain")
        for value, priority in ((b"low", 200), (b"a", 100), (b"b", 100)):
            queue.put(value, priority)
        assert len(queue) == 3
        taken = other.Queue(zk_path + "/plain")
        assert [taken.get() for _ in range(4)] == [b"a", b"b", b"low", None]

        locking, rival = zk.LockingQueue(zk_path + "/locking"), other.LockingQueue(zk_path + "/locking")
        locking.put_all([b"1", b"2"])
        assert locking.get(LIMIT) == b"1"
        assert rival.get(LIMIT) == b"2"
        assert locking.consume() and rival.consume()
        assert len(locking) == 0


@scenario
def barriers(zk_path="/barrier"):
    with clients(2) as (zk, other):
        barrier = Barrier(zk, zk_path + "/single")
        barrier.create()
        waiting = []
        thread = in_thread(lambda: waiting.append(Barrier(other, zk_path + "/single").wait(LIMIT)))
        barrier.remove()
        joined(thread)
        assert waiting == [True]

        entered = []

        def both(client):
            double = DoubleBarrier(client, zk_path + "/double", 2)
            double.enter()
            entered.append(client)
            double.leave()

        joined(in_thread(both, zk), in_thread(both, other))
        assert len(entered) == 2


@scenario
def counters(zk_path="/counter"):
    with clients(3) as opened:
        def add(zk):
            counter = zk.Counter(zk_path, default=0)
            for _ in range(10):
                counter += 1

        joined(*[in_thread(add, zk) for zk in opened])
        assert opened[0].Counter(zk_path).value == 30
        assert opened[0].Counter(zk_path + "-float", default=1.5, support_curator=False).value == 1.5


@scenario
def parties(zk_path="/party"):
    with clients(2) as (zk, other):
        one, two = zk.Party(zk_path, "one"), other.Party(zk_path, "two")
        one.join()
        two.join()
        assert sorted(one) == ["one", "two"] and len(two) == 2
        other.stop()
        eventually(lambda: list(one) == ["one"], "the other left")
        shallow = ShallowParty(zk, zk_path + "-shallow", "three")
        shallow.join()
        assert list(shallow) == ["three"]


@scenario
def partitioner(zk_path="/partitioner"):
    with clients(2) as opened:
        parts = [
            zk.SetPartitioner(zk_path, set=range(4), identifier="member-%d" % number, time_boundary=0.3)
            for number, zk in enumerate(opened)
        ]

        def acquire(part):
            deadline = time.monotonic() + LIMIT
            while not (part.acquired and len(list(part)) == 2):
                assert time.monotonic() < deadline, "not partitioned: " + part.state
                if part.release:
                    part.release_set()
                elif part.allocating:
                    part.wait_for_acquire(1)
                elif part.failed:
                    raise AssertionError("lost the connection")
                else:
                    time.sleep(0.02)

        joined(*[in_thread(acquire, part) for part in parts])
        assert sorted(list(parts[0]) + list(parts[1])) == [0, 1, 2, 3]
        for part in parts:
            part.finish()


@scenario
def leases(zk_path="/lease"):
    with clients(2) as (zk, other):
        from datetime import timedelta

        assert zk.NonBlockingLease(zk_path, timedelta(minutes=1), "one")
        assert not other.NonBlockingLease(zk_path, timedelta(minutes=1), "two")
        assert other.MultiNonBlockingLease(2, zk_path + "-many", timedelta(minutes=1), "two")


@scenario
def acls_and_credentials(zk_path="/acls"):
    with clients(3) as (owner, stranger, su):
        owner.add_auth("digest", "user:password")
        owner.create(zk_path, b"secret", acl=[make_digest_acl("user", "password", all=True)])
        assert owner.get(zk_path)[0] == b"secret"
        raises(NoAuthError, stranger.get, zk_path)
        raises(NoAuthError, stranger.set, zk_path, b"x")
        raises(NoAuthError, stranger.create, zk_path + "/child")
        acl, stat = owner.get_acls(zk_path)
        assert acl[0].id.id.startswith("user:") and stat.aversion == 0
        acls = acl + [make_acl("world", "anyone", read=True)]
        assert owner.set_acls(zk_path, acls, version=0).aversion == 1
        raises(BadVersionError, owner.set_acls, zk_path, acls, version=0)
        assert stranger.get(zk_path)[0] == b"secret"
        raises(NoAuthError, stranger.set, zk_path, b"x")
        raises(InvalidACLError, owner.create, zk_path + "-bad", acl=[make_acl("nosuch", "id", all=True)])
        owner.create(zk_path + "-auth", acl=[make_acl("auth", "", all=True)])
        assert owner.get_acls(zk_path + "-auth")[0][0].id.scheme == "digest"
        su.add_auth("digest", "super:secret")
        assert su.set(zk_path, b"by the super user").version == 1


@scenario
def sessions_survive_a_lost_connection(zk_path="/sessions"):
    with clients() as zk:
        states, seen = [], []
        zk.add_listener(states.append)
        zk.create(zk_path, b"", ephemeral=True)
        zk.DataWatch(zk_path, lambda data, stat: seen.append(data))
        session = zk.client_id
        zk._connection._socket.shutdown(2)
        eventually(lambda: KazooState.SUSPENDED in states, "the loss is noticed")
        eventually(lambda: states[-1] == KazooState.CONNECTED, "connected again")
        assert zk.client_id == session, "another session"
        assert zk.retry(zk.get, zk_path)[1].ephemeralOwner == session[0]
        zk.retry(zk.set, zk_path, b"after")
        eventually(lambda: seen[-1] == b"after", "the watch is set again")


@scenario
def a_session_is_taken_over_with_its_password(zk_path="/taken"):
    first = connect()
    first.create(zk_path, ephemeral=True)
    # A client that has lost its connection tells no id.
    session = first.client_id
    first._connection._socket.shutdown(2)
    second = KazooClient(hosts=SERVER, timeout=5, client_id=session)
    second.start(LIMIT)
    assert second.client_id[0] == session[0] == second.get(zk_path)[1].ephemeralOwner
    second.stop()
    try:
        first.stop()
    except Exception:
        pass


@scenario
def a_chroot_is_seen_nowhere(zk_path="/chroot"):
    with clients() as zk:
        zk.ensure_path(zk_path)
        below = KazooClient(hosts=SERVER + zk_path)
        below.start(LIMIT)
        assert below.create("/a", b"x") == "/a"
        assert zk.get(zk_path + "/a")[0] == b"x"
        below.stop()


@scenario
def the_four_letter_words():
    with clients() as zk:
        assert "Mode: standalone" in zk.command(b"srvr")
        assert zk.command(b"ruok") == "imok"
        assert zk.server_version() >= (3, 8)


@scenario
def a_big_value_and_many_requests(zk_path="/big"):
    with clients() as zk:
        big = bytes(range(256)) * 3900
        zk.create(zk_path, big)
        assert zk.get(zk_path)[0] == big
        pending = [zk.create_async(zk_path + "/n%04d" % number, b"x" * 100) for number in range(2000)]
        for request in pending:
            request.get(timeout=LIMIT)
        assert len(zk.get_children(zk_path)) == 2000
        zk.delete(zk_path, recursive=True)


def main():
    failed = []
    for run in SCENARIOS:
        started = time.monotonic()
        try:
            run()
            print("ok      %s (%.1f s)" % (run.__name__, time.monotonic() - started), flush=True)
        except BaseException:
            failed.append(run.__name__)
            print("FAILED  %s\n%s" % (run.__name__, traceback.format_exc()), flush=True)
    if failed:
        sys.exit("failed: " + ", ".join(failed))


main()
