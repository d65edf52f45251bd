"""Ctrl-C is answered between two steps, and nothing is lost by it."""

import signal
import subprocess
import sys
import threading

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import run
from fastbatch.trainer.validation import Validation

EPOCHS, BATCHES = 4, 6  # 90 examples, 16 in a batch


def trainer_for(net, lr=0.01):
    return fb.Trainer(net, fb.Adam(lr), batch_size=16, seed=2)


@pytest.fixture
def uninterrupted(classifier, classes):
    trainer = trainer_for(classifier)
    trainer.fit(*classes, epochs=EPOCHS, validation=classes)
    return trainer


def assert_resumed(trainer, uninterrupted):
    np.testing.assert_array_equal(trainer.theta, uninterrupted.theta)
    assert (trainer.step, trainer.epoch) == (uninterrupted.step, uninterrupted.epoch)
    for one, other in zip(trainer.history, uninterrupted.history, strict=True):
        assert (one.epoch, one.step, one.loss) == (other.epoch, other.step, other.loss)
        assert one.validation_loss == other.validation_loss


def interrupting(step):
    """A schedule during whose evaluation Ctrl-C arrives, while step `step` is being prepared."""

    def lr(at):
        if at == step and armed:
            armed.clear()
            signal.raise_signal(signal.SIGINT)
        return 0.01

    armed = [True]
    return lr


@pytest.mark.parametrize("step", [0, 1, 5, 6, 8, 17, 23])
@pytest.mark.parametrize("slice_seconds", [0.0, 9.0])
def test_resumed_training_equals_uninterrupted(
    classifier, classes, uninterrupted, monkeypatch, step, slice_seconds
):
    monkeypatch.setattr(run, "SLICE_SECONDS", slice_seconds)
    trainer = trainer_for(classifier, interrupting(step))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes, epochs=EPOCHS, validation=classes)
    assert trainer.step > step  # the slice was finished
    trainer.fit(*classes, epochs=EPOCHS - trainer.epoch, validation=classes)
    assert_resumed(trainer, uninterrupted)


def test_an_interrupted_epoch_is_finished_first_and_counts(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer = trainer_for(classifier, interrupting(8))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes, epochs=EPOCHS)
    assert (trainer.epoch, trainer.step) == (1, 9)
    (record,) = trainer.fit(*classes)
    assert (record.epoch, record.step) == (2, 12)


def test_an_interrupted_epoch_wants_as_many_examples(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    trainer = trainer_for(classifier, interrupting(1))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes)
    X, y = classes
    with pytest.raises(ValueError, match=r"interrupted amid 90 examples .* found 80"):
        trainer.fit(X[:80], y[:80])
    assert trainer.step == 2
    trainer.fit(X, y)
    trainer.fit(X[:80], y[:80])
    assert trainer.epoch == 2


def test_an_epoch_whose_used_weights_are_all_zero_has_no_loss(classifier, classes, monkeypatch):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)
    X, y = classes
    trainer = fb.Trainer(classifier, fb.SGD(interrupting(0)), batch_size=45, sampler="sequential")
    first_half = np.repeat([1.0, 0.0], 45)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, y, sample_weight=1 - first_half)
    (record,) = trainer.fit(X, y, sample_weight=first_half)
    assert np.isnan(record.loss) and np.isfinite(trainer.theta).all()


def test_interrupted_in_validation_the_epoch_ends_once(
    classifier, classes, uninterrupted, monkeypatch
):
    trainer, judge = trainer_for(classifier), Validation.judge

    def interrupted(self, theta):
        if trainer.epoch == 1:
            signal.raise_signal(signal.SIGINT)
        return judge(self, theta)

    with monkeypatch.context() as patch:
        patch.setattr(Validation, "judge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(*classes, epochs=EPOCHS, validation=classes)
    assert (trainer.epoch, trainer.step, len(trainer.history)) == (1, 12, 1)
    trainer.fit(*classes, epochs=EPOCHS - 1, validation=classes)
    assert_resumed(trainer, uninterrupted)
    assert trainer.history[1].examples_per_second == 0


def test_interrupted_in_a_callback_the_epoch_has_ended(classifier, classes, uninterrupted):
    def interrupt(trainer, record):
        if record.epoch == 2:
            signal.raise_signal(signal.SIGINT)
            raise AssertionError("a callback is interrupted at once")

    trainer = trainer_for(classifier)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes, epochs=EPOCHS, validation=classes, callbacks=[interrupt])
    assert trainer.epoch == len(trainer.history) == 2
    trainer.fit(*classes, epochs=EPOCHS - 2, validation=classes)
    assert_resumed(trainer, uninterrupted)


def test_the_former_handler_is_asked_and_comes_back(classifier, classes):
    received = []
    before = signal.signal(signal.SIGINT, lambda number, frame: received.append(number))
    try:
        mine = signal.getsignal(signal.SIGINT)
        trainer = trainer_for(classifier, interrupting(3))
        assert len(trainer.fit(*classes, epochs=2)) == 2
        assert signal.getsignal(signal.SIGINT) is mine
    finally:
        signal.signal(signal.SIGINT, before)
    assert received == [signal.SIGINT]


def test_an_ignored_signal_stays_ignored(classifier, classes):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        trainer = trainer_for(classifier, interrupting(3))
        assert len(trainer.fit(*classes, epochs=2)) == 2
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_training_in_a_thread_leaves_signals_alone(classifier, classes, uninterrupted):
    trainer, before = trainer_for(classifier), signal.getsignal(signal.SIGINT)
    handlers = []

    def work():
        note = lambda trainer, record: handlers.append(signal.getsignal(signal.SIGINT))  # noqa: E731
        trainer.fit(*classes, epochs=EPOCHS, validation=classes, callbacks=[note])

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert handlers == [before] * EPOCHS
    assert_resumed(trainer, uninterrupted)


ENDLESS = """
import signal
import sys
import numpy as np
import fastbatch as fb

signal.signal(signal.SIGINT, signal.default_int_handler)  # who runs this may have it ignored
rng = np.random.default_rng(0)
X = rng.normal(size=(2000, 8)).astype("float32")
net = fb.Network([fb.Dense(32, "relu"), fb.Dense(1)], 8, "squared_error", backend=sys.argv[1])
trainer, other = fb.Trainer(net), fb.Trainer(net)
trainer.fit(X, X[:, 0])
try:
    print("training", flush=True)
    trainer.fit(X, X[:, 0], epochs=10**9)
except KeyboardInterrupt:
    trainer.fit(X, X[:, 0])
    other.fit(X, X[:, 0], epochs=trainer.epoch)
    assert other.step == trainer.step
    assert other.theta.tobytes() == trainer.theta.tobytes()
    print("resumed")
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process there")
def test_a_real_ctrl_c_ends_a_real_run(backend):
    command = [sys.executable, "-c", ENDLESS, backend]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "training\n"
        process.send_signal(signal.SIGINT)
        assert process.stdout.read() == "resumed\n"
    assert process.returncode == 0


# NumPy loses a signal while it describes a structured array, as __array_interface__ does.
ALARMS = """
import signal
import traceback
import numpy as np
import fastbatch as fb

class Alarm(BaseException):
    pass

def ring(number, frame):
    fired.append(traceback.extract_stack(frame)[-1])
    raise Alarm

signal.signal(signal.SIGALRM, ring)
X = np.zeros((64, 4), "float32")
net = fb.Network([fb.Dense(8, "relu"), fb.Dense(1)], 4, "squared_error")
fb.Trainer(net).fit(X, X[:, 0])
for microseconds in range(1, 1000):
    fired = []
    try:
        signal.setitimer(signal.ITIMER_REAL, 1e-6 * microseconds)
        fb.Trainer(net).fit(X, X[:, 0])
        signal.setitimer(signal.ITIMER_REAL, 0)
    except Alarm:
        continue
    assert not fired, f"lost in {fired[0]}"
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends signals there")
def test_a_signal_gets_through_wherever_a_fit_begins():
    subprocess.run([sys.executable, "-c", ALARMS], check=True, timeout=100)
