"""The epochs of ``fastbatch train``: what is shown and written meanwhile, and saved in the end."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from fastbatch.backends import load
from fastbatch.callbacks import Callback, Checkpoint, EarlyStopping, TimeLimit
from fastbatch.commands.doctor import compiled_kernels
from fastbatch.commands.options import LOGS
from fastbatch.commands.stop_signals import StopSignals
from fastbatch.history import EpochRecord
from fastbatch.progress import LOG
from fastbatch.run import DivergenceError
from fastbatch.trainer import Trainer

Examples = tuple[NDArray[Any], NDArray[Any]]


def fit(
    chosen: argparse.Namespace, trainer: Trainer, examples: Examples, validation: Examples
) -> None:
    """Do the epochs that are left, say how it went, and save whatever happens."""
    callbacks = _callbacks(chosen, trainer)
    left, step = chosen.epochs - trainer.epoch, trainer.step
    stop = None
    if chosen.patience is not None:
        stop = EarlyStopping(chosen.patience, restore_best=False)
        callbacks.append(stop)
        if [stop(trainer, record) for record in trainer.history][-1:] == [True]:
            left = 0
    history: list[EpochRecord] = []
    if left > 0:
        X, y = examples
        _compile(trainer, X[:1], y[:1])
        try:
            with _lines_shown(), StopSignals() as signals:
                history = trainer.fit(
                    X,
                    y,
                    epochs=left,
                    validation=validation,
                    metrics=chosen.metrics,
                    callbacks=[*callbacks, signals],
                    verbose=2,
                )
            if signals.received:
                raise KeyboardInterrupt
        except (DivergenceError, KeyboardInterrupt, OSError):
            _save(chosen, trainer)
            raise
        except Exception:
            if trainer.step > step:
                _save(chosen, trainer)
            raise
    if history:
        last, seconds = history[-1], sum(record.seconds for record in history)
        steps = trainer.step - step
        print(
            f"held-out {last.metric_name} {last.validation_metric:.4f}, "
            f"{steps:,} steps in {seconds:.2f} s, {steps / seconds:,.0f} steps/s"
        )
    if trainer.epoch < chosen.epochs:
        print(f"stopped after {trainer.epoch:,} of {chosen.epochs:,} epochs")
    elif left <= 0:
        print(f"nothing left to train: {trainer.epoch:,} epochs are done, --epochs asks for more")
    if stop is not None and stop.best is not None:
        where = "" if chosen.output is None else f", saved to {best_path(chosen.output)}"
        print(f"lowest validation loss after epoch {stop.best.epoch:,}{where}")
    _save(chosen, trainer)


def _callbacks(chosen: argparse.Namespace, trainer: Trainer) -> list[Callback]:
    """What is done after each epoch; the log comes first, so that it lacks none that is saved."""
    callbacks: list[Callback] = []
    if chosen.log is not None:
        log = LOGS[Path(chosen.log).suffix.lower()](chosen.log)
        if not trainer.step:  # another run's log
            log.before_steps(trainer)
            log.path.write_bytes(b"")
        callbacks.append(log)
    if chosen.patience is not None and chosen.output is not None:
        callbacks.append(Checkpoint(best_path(chosen.output), monitor="validation_loss"))
    if chosen.checkpoint_every is not None:
        callbacks.append(Checkpoint(chosen.output, chosen.checkpoint_every))
    if chosen.time_limit is not None:
        callbacks.append(TimeLimit(chosen.time_limit))
    return callbacks


def best_path(output: str) -> Path:
    """Where the best model is kept: beside "a.safetensors" there is "a.best.safetensors"."""
    return Path(output).with_name(f"{Path(output).stem}.best{Path(output).suffix}")


def _save(chosen: argparse.Namespace, trainer: Trainer) -> None:
    if chosen.output is not None:
        trainer.save(chosen.output)
        print(f"saved to {chosen.output}")


@contextmanager
def _lines_shown() -> Iterator[None]:
    """Print what training logs: a line for each epoch."""
    lines = _Lines()
    level = LOG.level
    LOG.addHandler(lines)
    LOG.setLevel(logging.INFO)
    try:
        yield
    finally:
        LOG.removeHandler(lines)
        LOG.setLevel(level)


class _Lines(logging.Handler):
    """Unlike logging's own, it lets errors through: nobody may be reading any more."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line, at once."""
        print(record.getMessage(), flush=True)


def _compile(trainer: Trainer, X: Any, y: Any) -> None:
    """Have the kernels compiled, or read from the cache, before the clock starts."""
    if trainer.network.backend == "cpu" and not compiled_kernels(load("cpu").describe()):
        print("compiling the kernels for this machine: some 10 s, once", file=sys.stderr)
    Trainer(trainer.network, trainer.optimizer).fit(X, y, validation=(X, y))
