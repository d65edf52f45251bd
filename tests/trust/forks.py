"""Eight forked children train at once: a script, for what it forks from must have no other threads.

It prints what the parent finds before and after, and what the children find.
"""

import json
import os

from some_training import SEEDS, digest


def start(seed):
    """Fork a child that trains, and return where it will write what it finds."""
    reading, writing = os.pipe()
    if os.fork() == 0:
        with os.fdopen(writing, "w") as pipe:
            pipe.write(digest(seed))
        os._exit(0)
    os.close(writing)
    return reading


def answer(reading):
    with os.fdopen(reading) as pipe:
        return pipe.read()


before = [digest(seed) for seed in SEEDS]
children = [start(seed) for seed in SEEDS]
during = [digest(seed) for seed in SEEDS]
inside = [answer(child) for child in children]
assert all(os.waitstatus_to_exitcode(os.wait()[1]) == 0 for _ in children)
print(json.dumps([before, during, inside]))
