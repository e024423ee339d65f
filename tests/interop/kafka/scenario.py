"""What the scenarios of all Python clients share: a list of them, a way to run it, and waiting.

    A script is called as: SCRIPT [SCENARIO..] HOST:PORT[,HOST:PORT..]

It ends with 0 if all scenarios pass, or those it names; it tells those that do not.
"""

import asyncio
import inspect
import itertools
import os
import sys
import time
import traceback

LIMIT = 30
"""Seconds for whatever must happen in the end."""

SERVERS = sys.argv[-1]
CODECS = ["gzip", "snappy", "lz4", "zstd"]

SCENARIOS = []
NUMBERS = itertools.count(1)


def scenario(function):
    SCENARIOS.append(function)
    return function


def fresh(word):
    """A name that nobody has used: scenarios of several scripts may meet on one cluster."""
    return "%s-%d-%d" % (word, os.getpid(), next(NUMBERS))


def eventually(condition, what):
    """Polls until the condition holds, and gives what it gave."""
    deadline = time.monotonic() + LIMIT
    while not (held := condition()):
        assert time.monotonic() < deadline, "never: " + what
        time.sleep(0.02)
    return held


def raises(error, function, *arguments, **options):
    try:
        function(*arguments, **options)
    except error as raised:
        return raised
    raise AssertionError("%s was not raised" % (error,))


def equal(found, expected):
    assert found == expected, "%r is not %r" % (found, expected)


def spread(shares):
    """Whether every member has a share, and no partition has two owners."""
    owned = [partition for share in shares for partition in share]
    return all(shares) and len(owned) == len(set(owned))


def run():
    asked = set(sys.argv[1:-1])
    failed = []
    for function in SCENARIOS:
        if asked and function.__name__ not in asked:
            continue
        began = time.monotonic()
        try:
            outcome = function()
            if inspect.isawaitable(outcome):
                asyncio.run(outcome)
        except Exception:
            failed.append(function.__name__)
            traceback.print_exc(file=sys.stdout)
        verdict = "FAILED" if function.__name__ in failed[-1:] else "ok"
        print("%-6s %5.1fs %s" % (verdict, time.monotonic() - began, function.__name__), flush=True)
    if failed:
        print("failed: " + ", ".join(failed))
    # Threads of a client that got stuck must not keep the script from ending.
    sys.stdout.flush()
    os._exit(1 if failed else 0)
