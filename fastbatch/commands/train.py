"""Train a network on a bundled data set, or a CSV, Parquet, NPZ or NPY file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from fastbatch import learning_curves, metrics
from fastbatch.clipping import PerExampleClip
from fastbatch.commands import configuration, kept, options
from fastbatch.commands.examples import Examples, in_memory, streamed
from fastbatch.commands.fitting import TrainingError, fit
from fastbatch.commands.options import DEFAULTS, MODEL, RUN
from fastbatch.commands.output import tell
from fastbatch.datasets import Preparation
from fastbatch.layers import Dense, Dropout, Layer
from fastbatch.network import Network
from fastbatch.optimizers import OPTIMIZERS
from fastbatch.privacy import GaussianNoise
from fastbatch.run import DivergenceError
from fastbatch.threads import set_threads
from fastbatch.trainer import Trainer

configure = options.configure


def run(arguments: argparse.Namespace) -> int:
    """Train, tell how it goes, and save."""
    given = options.given(arguments)
    trainer, before = _saved(given) if given.get("resume") else (None, {})
    chosen = argparse.Namespace(**DEFAULTS | before | given)
    options.check(chosen, getattr(arguments, "config", None))
    if chosen.threads is not None:
        set_threads(chosen.threads)

    examples = (streamed if chosen.stream else in_memory)(chosen, trainer)
    if trainer is None:
        trainer = _new(chosen, examples.preparation)
    metrics.check(chosen.metrics, trainer.network.loss, trainer.network.outputs)
    _warn_of_names(examples)
    _describe(chosen, trainer, examples)
    stated = configuration.table({name: getattr(chosen, name) for name in (*MODEL, *RUN)})
    kept.keep(trainer, examples.preparation, examples.digest, stated)

    step = trainer.step
    try:
        fit(chosen, trainer, examples)
        if chosen.plot is not None and trainer.history:
            learning_curves.draw(trainer.history, chosen.plot)
            tell(f"drawn to {chosen.plot}")
    except Exception as error:
        if trainer.step == step or isinstance(error, DivergenceError):
            raise
        raise TrainingError from error
    return 0


def _saved(given: configuration.Options) -> tuple[Trainer | None, configuration.Options]:
    """The trainer to go on with, and its options; none if nothing was saved yet."""
    path = given.get("output")
    if path is None:
        raise ValueError("--resume goes on with what was saved at --output, which is missing")
    if not Path(path).exists():
        tell(f"nothing saved at {path} so far: training begins")
        return None, {}
    trainer = Trainer.load(path, backend=given.get("backend"))
    try:
        before = configuration.understood(kept.found(trainer)["options"], configure, DEFAULTS)
    except (AttributeError, KeyError, TypeError, ValueError):
        raise ValueError(
            f"{path} was not saved by a run that can be resumed: expected one of fastbatch train"
        ) from None
    for name in given.keys() & MODEL.keys():
        was = before.get(name, MODEL[name])
        if given[name] != was:
            raise ValueError(
                f"--{name.replace('_', '-')} is {given[name]}, but was "
                f"{'not given' if was is None else was} in the run to be resumed: leave it out, or "
                "train anew without --resume"
            )
    tell(f"resuming {path} after {trainer.epoch:,} epochs, {trainer.step:,} steps")
    return trainer, before


def _new(chosen: argparse.Namespace, preparation: Preparation) -> Trainer:
    """A trainer with the network that suits the data."""
    classes = preparation.classes
    layers: list[Layer] = []
    for units in chosen.hidden:
        layers.append(Dense(units, chosen.activation))
        if chosen.dropout is not None:
            layers.append(Dropout(chosen.dropout))
    network = Network(
        [*layers, Dense(len(classes) if classes else 1)],
        inputs=preparation.width,
        loss="cross_entropy" if classes else "squared_error",
        backend=chosen.backend,
    )
    kind: Any = OPTIMIZERS[chosen.optimizer]
    return Trainer(
        network,
        kind() if chosen.lr is None else kind(chosen.lr),
        batch_size=chosen.batch_size,
        seed=chosen.seed,
        sampler=chosen.sampler,
        clip=None if chosen.clip is None else PerExampleClip(chosen.clip),
        noise=None if chosen.noise is None else GaussianNoise(chosen.noise),
        l2=chosen.l2,
        monitor=chosen.monitor,
    )


def _warn_of_names(examples: Examples) -> None:
    """Say which texts are rather names of the examples, such as dates, than categories."""
    preparation = examples.preparation
    count = examples.count - len(examples.held_out[1])
    for name, known in zip(preparation.texts, preparation.categories, strict=True):
        if len(known) > max(count / 2, 20):
            print(
                f"warning: column {name} has {len(known):,} different texts in {count:,} "
                "examples, which tell nothing of others: leave it out, or make numbers of it",
                file=sys.stderr,
            )


def _describe(chosen: argparse.Namespace, trainer: Trainer, examples: Examples) -> None:
    preparation = examples.preparation
    features, classes = len(preparation.features), preparation.classes
    texts = f" ({len(preparation.texts)} of text)" if preparation.texts else ""
    task = f"{len(classes)} classes" if classes else "regression"
    weights = "" if chosen.weight_column is None else f", weighted by {chosen.weight_column}"
    network = trainer.network
    widths = "-".join(map(str, (network.inputs, *chosen.hidden, network.outputs)))
    tell(
        f"{chosen.data}: {examples.count:,} examples, {features} features{texts}, {task}{weights}; "
        f"{len(examples.held_out[1]):,} held out for validation",
        f"network {widths} ({network.n_parameters:,} parameters), {chosen.activation}, "
        f"{chosen.optimizer}, batches of {chosen.batch_size}",
    )
