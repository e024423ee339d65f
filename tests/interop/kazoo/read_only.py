"""kazoo reads from a server without a quorum, and writes once there is one: `read_only.py host:port`.

It says when it has read, so that somebody can bring the quorum back.
"""

import sys
import time

from kazoo.client import KazooClient
from kazoo.exceptions import NotReadOnlyCallError
from kazoo.protocol.states import KeeperState

PATIENCE = 60

client = KazooClient(hosts=sys.argv[1], read_only=True, timeout=10)
client.start(timeout=PATIENCE)
assert client.client_state == KeeperState.CONNECTED_RO, client.client_state
assert client.get("/kept")[0] == b"data"
try:
    client.set("/kept", b"other")
    sys.exit("a read-only server took a write")
except NotReadOnlyCallError:
    pass
print("has read", flush=True)

until = time.monotonic() + PATIENCE
while client.client_state != KeeperState.CONNECTED:
    assert time.monotonic() < until, client.client_state
    time.sleep(0.05)
client.set("/kept", b"other")
client.stop()
