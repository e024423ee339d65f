"""One kazoo session that works through whatever happens to the ensemble.

    kazoo_session.py HOST:PORT,..

Prints `ready`, then for each value that it reads `seen VALUE` once its watch on /news has shown it and everything that it
holds is still its own, and `done COUNT` after the last one. Ends with 0 if nothing was lost or done twice.
"""

import logging
import sys
import threading
import time

from kazoo.client import KazooClient
from kazoo.exceptions import BadVersionError, ConnectionLoss, SessionExpiredError

# It tells of each connection that it loses.
logging.disable(logging.WARNING)

LIMIT = 30
ROOT = "/kazoo"


def require(condition, what):
    if not condition:
        raise AssertionError(what)


def within_limit(condition, what):
    deadline = time.monotonic() + LIMIT
    while not condition():
        require(time.monotonic() < deadline, what)
        time.sleep(0.005)


def persistently(call):
    """A call that may be repeated."""
    deadline = time.monotonic() + LIMIT
    while True:
        try:
            return call()
        except ConnectionLoss:
            require(time.monotonic() < deadline, "connected again")
            time.sleep(0.01)


class Counter(threading.Thread):
    """Counts up for as long as it may; what it was not told it looks up, so nothing counts twice."""

    def __init__(self, client):
        super().__init__(daemon=True)
        self.client, self.count, self.ends, self.failure = client, 0, False, None

    def run(self):
        try:
            version = 0
            while not self.ends:
                version = self.set(str(self.count + 1).encode(), version)
                self.count += 1
        except Exception as failure:
            self.failure = failure

    def set(self, data, version):
        lost = False
        while True:
            try:
                return self.client.set(ROOT + "/count", data, version).version
            except ConnectionLoss:
                lost = True
                time.sleep(0.01)
            except BadVersionError:
                require(lost, "nobody else counts")
                found, stat = persistently(lambda: self.client.get(ROOT + "/count"))
                require(found == data and stat.version == version + 1, f"{found} is where {data} was written")
                return stat.version


def main(servers):
    client = KazooClient(hosts=servers, timeout=20)
    rival = KazooClient(hosts=servers, timeout=20)
    for one in (client, rival):
        one.start(LIMIT)
    session = client.client_id[0]
    client.create(ROOT)
    client.create(ROOT + "/count", b"0")
    client.create(ROOT + "/here", b"", ephemeral=True)
    seen = []
    client.DataWatch("/news", lambda data, stat: seen.append(data))
    lock, rivals_lock = client.Lock(ROOT + "/lock"), rival.Lock(ROOT + "/lock")
    require(lock.acquire(timeout=LIMIT), "a lock that nobody has")
    overtaken = threading.Event()
    waiting = threading.Thread(target=lambda: rivals_lock.acquire() and overtaken.set(), daemon=True)
    waiting.start()
    within_limit(lambda: len(lock.contenders()) == 2, "the rival waits")
    counter = Counter(client)
    counter.start()
    print("ready", flush=True)

    for line in sys.stdin:
        news = line.strip().encode()
        within_limit(lambda: news in seen, f"{news} is shown, after {seen}")
        before = counter.count
        within_limit(lambda: counter.failure or counter.count > before, "the counting goes on")
        require(counter.failure is None, f"counting: {counter.failure!r}")
        require(client.client_id[0] == session, "the session is the same")
        owner = persistently(lambda: client.exists(ROOT + "/here")).ephemeralOwner
        require(owner == session, "the ephemeral is its own")
        require(not overtaken.is_set(), "the lock is its own")
        print("seen", news.decode(), flush=True)

    counter.ends = True
    counter.join(LIMIT)
    count = persistently(lambda: client.get(ROOT + "/count"))[0]
    require(counter.failure is None and int(count) == counter.count, f"{count} is {counter.count}")
    persistently(lock.release)
    require(overtaken.wait(LIMIT), "the rival gets the lock at last")
    for one in (client, rival):
        one.stop()
    print("done", counter.count, flush=True)


try:
    main(sys.argv[1])
except SessionExpiredError:
    sys.exit("the session has expired")
