"""A run that saves after every epoch, killed again and again: a script that dies many times.

    python killed_runs.py moments BACKEND KILLS FOLDER   at random moments, until it is through
    python killed_runs.py calls BACKEND FOLDER           before each call of one save to the system

What is killed is a forked child, so that nothing has to be imported anew. The parent looks at what
is there then. It prints how many children were killed, and how many of them amid a save.
"""

import itertools
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np

import fastbatch as fb
from fastbatch.state import State

EPOCHS = 20
RNG = np.random.default_rng(1)
Y = np.arange(90) % 3
X = (RNG.normal(size=(90, 4)) + 2.0 * np.eye(3, 4)[Y]).astype(np.float32)


def new(backend):
    net = fb.Network([fb.Dense(9, "relu"), fb.Dense(3)], 4, "cross_entropy", backend=backend)
    return fb.Trainer(net, fb.Adam(0.01), batch_size=16, seed=2)


def go_on(backend, path):
    """What a job does, however often it is started."""
    trainer = fb.Trainer.load(path) if path.exists() else new(backend)
    if trainer.epoch < EPOCHS:
        epochs = EPOCHS - trainer.epoch
        trainer.fit(X, Y, epochs=epochs, validation=(X, Y), callbacks=[fb.Checkpoint(path)])


def status_of_child(work, moment=None):
    """How a child ends that does this, if it is not killed before."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    if moment is not None:
        time.sleep(moment)  # no claim depends on it
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert status in (0, -signal.SIGKILL), status
    return status


def state(trainer):
    """All that there is, but the times."""
    values = vars(State.of(trainer._state))
    arrays = {name: v.tobytes() if isinstance(v, np.ndarray) else v for name, v in values.items()}
    losses = [(r.epoch, r.step, r.loss, r.validation_loss) for r in trainer.history]
    return arrays, losses


def at_random_moments(backend, kills, folder):
    """Of each run, the state after every epoch has to be one of an undisturbed run."""
    expected = []
    new(backend).fit(
        X, Y, epochs=EPOCHS, validation=(X, Y), callbacks=[lambda t, _: expected.append(state(t))]
    )
    start = time.perf_counter()
    status_of_child(lambda: go_on(backend, folder / "undisturbed"))
    seconds = time.perf_counter() - start
    draw, killed = random.Random(0), 0
    for run in itertools.count():
        path, epoch, status, latest = folder / f"run{run}", 0, None, seconds
        while status != 0:
            moment = draw.uniform(0, latest)
            status = status_of_child(lambda path=path: go_on(backend, path), moment)
            killed += status != 0
            latest *= 1.01  # so that it comes to an end on a machine that has become busy
            if path.exists():
                trainer = fb.Trainer.load(path)
                assert trainer.epoch >= epoch, "it has gone back"
                epoch = trainer.epoch
                assert state(trainer) == expected[epoch - 1], f"other bits after epoch {epoch}"
        assert epoch == EPOCHS
        if killed >= kills:
            return killed


def is_of_system(function):
    """Whether it is one of the module that Python calls the system by, or of an open file."""
    owner = getattr(function, "__self__", None)
    return getattr(owner, "__name__", type(owner).__module__) in ("posix", "_io")


def at_each_call(backend, folder):
    """Killed before call 0, 1, 2, ... to the system, a save leaves the old or the new file."""
    path, trainer = folder / "run", new(backend)
    trainer.fit(X, Y)
    trainer.save(path)
    old, whole = state(trainer), path.read_bytes()
    trainer.fit(X, Y)
    renamed = False
    for last in itertools.count():
        path.write_bytes(whole)
        calls = itertools.count()

        def die(frame, event, argument, calls=calls, last=last):
            if event == "c_call" and is_of_system(argument) and next(calls) == last:
                os.kill(os.getpid(), signal.SIGKILL)

        def save(die=die):
            sys.setprofile(die)
            trainer.save(path)
            sys.setprofile(None)

        status = status_of_child(save)
        found = state(fb.Trainer.load(path))
        assert found == state(trainer) or (found == old and not renamed)
        renamed = found != old
        if status == 0:
            assert renamed
            return last


if __name__ == "__main__":
    how, backend, *kills, folder = sys.argv[1:]
    folder = Path(folder)
    if how == "moments":
        killed = at_random_moments(backend, int(kills[0]), folder)
    else:
        killed = at_each_call(backend, folder)
    print(killed, sum(path.name.startswith(".") for path in folder.iterdir()))
