"""The epochs of ``fastbatch train``: what is shown and written meanwhile, and saved in the end."""

import argparse
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from fastbatch.backends import load
from fastbatch.callbacks import Callback, Checkpoint, EarlyStopping, TimeLimit
from fastbatch.commands import configuration, kept
from fastbatch.commands.doctor import compiled_kernels
from fastbatch.commands.examples import Examples
from fastbatch.commands.options import LOGS
from fastbatch.commands.output import tell
from fastbatch.commands.paths import best_path
from fastbatch.commands.stop_signals import StopSignals
from fastbatch.history import EpochRecord
from fastbatch.progress import LOG
from fastbatch.run import DivergenceError
from fastbatch.trainer import Trainer


class TrainingError(Exception):
    """What went wrong after the first step, as its cause: no mistake in what was asked for."""


def fit(chosen: argparse.Namespace, trainer: Trainer, examples: Examples) -> None:
    """Do the epochs that are left, save whatever happens, and say how it went."""
    callbacks = _callbacks(chosen)
    left, step = chosen.epochs - trainer.epoch, trainer.step
    stop = None
    if chosen.patience is not None:
        stop = EarlyStopping(chosen.patience, restore_best=False)
        callbacks.append(stop)
        if [stop(trainer, record) for record in trainer.history][-1:] == [True]:
            left = 0
    history: list[EpochRecord] = []
    if left > 0:
        history = _train(chosen, trainer, examples, callbacks)
    if history:
        last, seconds = history[-1], sum(record.seconds for record in history)
        steps = trainer.step - step
        tell(
            f"held-out {last.metric_name} {last.validation_metric:.4f}, "
            f"{steps:,} steps in {seconds:.2f} s, {steps / seconds:,.0f} steps/s"
        )
    if trainer.epoch < chosen.epochs:
        tell(f"stopped after {trainer.epoch:,} of {chosen.epochs:,} epochs")
    elif left <= 0:
        tell(f"nothing left to train: {trainer.epoch:,} epochs are done, --epochs asks for more")
    if stop is not None and stop.best is not None:
        where = "" if chosen.output is None else f", saved to {best_path(chosen.output)}"
        tell(f"lowest validation loss after epoch {stop.best.epoch:,}{where}")


def _train(
    chosen: argparse.Namespace,
    trainer: Trainer,
    examples: Examples,
    callbacks: list[Callback],
) -> list[EpochRecord]:
    """Do the epochs, and save even if signals or errors end them."""
    X, y = examples.held_out
    _compile(trainer, X[:1], y[:1])
    step = trainer.step
    with _lines_shown(), StopSignals() as signals:
        try:
            history = trainer.fit(
                **examples.training,
                epochs=chosen.epochs - trainer.epoch,
                validation=examples.held_out,
                metrics=chosen.metrics,
                callbacks=[*callbacks, signals],
                verbose=2,
            )
        except BaseException as error:
            ended = isinstance(error, DivergenceError | KeyboardInterrupt)
            if ended or trainer.step > step:  # else an older model stays
                _save(chosen, trainer)
            raise
        _save(chosen, trainer)
    if signals.received and trainer.epoch < chosen.epochs:
        raise KeyboardInterrupt
    return history


def _callbacks(chosen: argparse.Namespace) -> list[Callback]:
    """What is done after each epoch; the log comes first, so that it lacks none that is saved."""
    callbacks: list[Callback] = []
    if chosen.log is not None:
        callbacks.append(LOGS[Path(chosen.log).suffix.lower()](chosen.log))
    if chosen.patience is not None and chosen.output is not None:
        callbacks.append(Checkpoint(best_path(chosen.output), monitor="validation_loss"))
    if chosen.checkpoint_every is not None:
        callbacks.append(partial(_checkpoint, chosen))
    if chosen.time_limit is not None:
        callbacks.append(TimeLimit(chosen.time_limit))
    return callbacks


def _checkpoint(chosen: argparse.Namespace, trainer: Trainer, record: EpochRecord) -> None:
    if record.epoch % chosen.checkpoint_every == 0:
        _write(chosen, trainer)


def _save(chosen: argparse.Namespace, trainer: Trainer) -> None:
    if chosen.output is not None:
        _write(chosen, trainer)
        tell(f"saved to {chosen.output}")


def _write(chosen: argparse.Namespace, trainer: Trainer) -> None:
    """The model, and its options beside it."""
    trainer.save(chosen.output)
    configuration.write(f"{chosen.output}.toml", kept.found(trainer)["options"])


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
    """Unlike logging's own, it lets errors through, such as that of a full disk."""

    def emit(self, record: logging.LogRecord) -> None:
        """Print one line."""
        tell(record.getMessage())


def _compile(trainer: Trainer, X: Any, y: Any) -> None:
    """Have the kernels compiled, or read from the cache, before the clock starts."""
    if trainer.network.backend == "cpu" and not compiled_kernels(load("cpu").describe()):
        print("compiling the kernels for this machine: some 10 s, once", file=sys.stderr)
    Trainer(trainer.network, trainer.optimizer).fit(X, y, validation=(X, y))
