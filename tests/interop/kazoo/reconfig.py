"""What a reconfiguration is answered, a line for each that is asked for.

    reconfig.py HOST:PORT

Ends with 0 if all could be asked; nothing is judged here.
"""

import re
import sys

from kazoo.client import KazooClient
from kazoo.exceptions import KazooException

SERVER = sys.argv[1]
DEAD = "127.0.0.1:1:2"


def shown(config):
    """Without what differs from one ensemble to the next."""
    text = re.sub(r"127\.\d+\.\d+\.", "H", config.decode())
    return sorted(re.sub(r"version=.*", "version", text).split("\n"))


def ask(client, name, joining=None, leaving=None, members=None, version=-1):
    try:
        data, stat = client.reconfig(joining, leaving, members, version)
        print(name, "-->", shown(data), "version", stat.version, "length", stat.data_length == len(data))
    except KazooException as error:
        print(name, "-->", type(error).__name__)


def members_of(client):
    return client.get("/zookeeper/config")[0].decode().rsplit("\n", 1)[0].split("\n")


def ask_all(client):
    ask(client, "another version", leaving="9", version=7)
    ask(client, "nobody stays", leaving="1,2,3")
    ask(client, "a leaver without number", leaving="x")
    ask(client, "a leaver who is not there", leaving="9")
    ask(client, "the same with spaces and nothing", leaving=" 9 ,, 8")
    ask(client, "nothing", joining="", leaving="")
    ask(client, "a joiner without a port for clients", joining="server.9=" + DEAD)
    ask(client, "a joiner without address", joining="server.9")
    ask(client, "a joiner without number", joining="server.x=%s;3" % DEAD)
    ask(client, "a joiner with one port", joining="server.9=127.0.0.1:1;3")
    ask(client, "a joiner with one port twice", joining="server.9=127.0.0.1:1:1;3")
    ask(client, "a joiner with a port that is none", joining="server.9=127.0.0.1:a:2;3")
    ask(client, "a joiner with an unknown role", joining="server.9=%s:king;3" % DEAD)
    ask(client, "a joiner with two addresses", joining="server.9=%s|127.0.0.2:1:2:observer;3" % DEAD)
    ask(client, "two joiners at one address", joining="server.8=192.0.2.1:1:2;3,server.9=192.0.2.1:4:1;5")
    ask(client, "two joiners for clients at one address", joining="server.8=192.0.2.1:1:2;192.0.2.1:3,server.9=192.0.2.1:4:5;192.0.2.1:3")
    ask(client, "too many joiners who are not there", joining=",".join("server.%d=%s;3" % (n, DEAD) for n in range(4, 8)))
    ask(client, "an observer who is not there", joining="server.9=%s:observer;3" % DEAD)
    ask(client, "the observer again, as a voter", joining="server.9=%s;127.0.0.1:3" % DEAD)
    ask(client, "the joiner leaves", leaving="9")
    own = members_of(client)
    ask(client, "a member who leaves and joins", joining=own[0], leaving="1")
    ask(client, "no members", members="")
    ask(client, "something else than members", members="\n".join(own + ["tickTime=7"]))
    ask(client, "members without number", members="\n".join(own + ["server.x=%s;3" % DEAD]))
    ask(client, "members without ports", members="\n".join(own + ["server.9=127.0.0.1;3"]))
    ask(client, "a member with two addresses", members="\n".join(own + ["server.9=%s|127.0.0.2:1:2:observer;3" % DEAD]))
    ask(client, "one member who is not there", members="server.9=%s;3" % DEAD)
    ask(client, "observers only", members="server.9=%s:observer;3" % DEAD)
    ask(client, "the members, with commas and a version", members=",".join(own + ["version=5"]))
    ask(client, "members in a group", members="\n".join(own + ["group.1=1:2:3", "weight.1=2"]))
    ask(client, "one by one where there are groups", leaving="9")
    ask(client, "a member in no group", members="\n".join(own + ["group.1=1:2"]))
    ask(client, "the members without groups", members="\n".join(own))
    print(shown(client.get("/zookeeper/config")[0]))


client = KazooClient(hosts=SERVER, timeout=20)
client.start(20)
ask(client, "without rights", leaving="9")
client.add_auth("digest", "super:secret")
ask_all(client)
client.stop()
