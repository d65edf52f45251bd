"""Train a network on a bundled data set, a CSV file or an NPZ file."""

import argparse
import sys
from pathlib import Path
from typing import Any

from fastbatch import datasets
from fastbatch.backends import BACKENDS, load
from fastbatch.clipping import PerExampleClip
from fastbatch.commands.doctor import compiled_kernels
from fastbatch.layers import ACTIVATIONS, Dense, Dropout, Layer
from fastbatch.network import Network
from fastbatch.optimizers import OPTIMIZERS, SGLD
from fastbatch.privacy import GaussianNoise
from fastbatch.samplers import SAMPLERS
from fastbatch.threads import set_threads
from fastbatch.trainer import MONITORS, Trainer


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    add = parser.add_argument
    add("data", help=f"one of {', '.join(datasets.BUNDLED)}, or a .csv or .npz file")
    add(
        "--target",
        metavar="NAME",
        help="what to predict: a column of a CSV file, by name or index, or a key of an NPZ file "
        f"(default: y); text and up to {datasets.MOST_CLASSES} different whole numbers are classes",
    )
    add("--hidden", type=int, nargs="*", default=[64, 64], metavar="UNITS", help="hidden layers")
    add("--activation", default="relu", choices=ACTIVATIONS, metavar="NAME", help="of hidden units")
    add("--dropout", type=float, metavar="RATE", help="share of hidden units dropped in a step")
    add("--epochs", type=int, default=30)
    add("--batch-size", type=int, default=32)
    # A single draw from the posterior is no model.
    add("--optimizer", default="adam", choices=[name for name in OPTIMIZERS if name != SGLD.name])
    add("--lr", type=float, help="learning rate (default: the optimizer's own)")
    add("--sampler", default="shuffle", choices=SAMPLERS, help="how batches are drawn")
    add("--clip", type=float, metavar="NORM", help="largest norm of an example's gradient")
    add("--noise", type=float, metavar="MULTIPLIER", help="Gaussian noise, in units of --clip")
    add(
        "--monitor",
        nargs="+",
        default=[],
        choices=MONITORS,
        metavar="WHAT",
        help=f"kept with the model: {', '.join(MONITORS)} (fastbatch inspect draws the last)",
    )
    add("--seed", type=int, default=0, help="of initial values, samples and the validation split")
    add("--threads", type=int, help="does not change the result (default: all cores)")
    add("--validation", type=float, default=0.1, metavar="SHARE", help="of examples held out")
    add("--backend", default="cpu", choices=BACKENDS)
    add("--output", metavar="FILE", help="where to save the model (.safetensors)")


def run(arguments: argparse.Namespace) -> int:
    """Train, tell how it goes, and save."""
    if arguments.output is not None and not Path(arguments.output).parent.is_dir():
        raise ValueError(f"--output {arguments.output}: no such folder, expected an existing one")
    if arguments.epochs < 1:
        raise ValueError(f"--epochs must be at least 1, found {arguments.epochs}")
    if arguments.threads is not None:
        set_threads(arguments.threads)
    data = datasets.read(arguments.data, arguments.target)
    trainer, preparation, training, held_out = _prepare(arguments, data)
    _describe(arguments, data, trainer.network, len(held_out.y))

    def prepared(part: datasets.Dataset) -> tuple[Any, Any]:
        return preparation.inputs(part.X), preparation.targets(part.y)

    X, y = prepared(training)
    _compile(arguments, trainer, X[:1], y[:1])
    history = trainer.fit(X, y, epochs=arguments.epochs, validation=prepared(held_out), verbose=1)
    last, seconds = history[-1], sum(record.seconds for record in history)
    print(
        f"held-out {last.metric_name} {last.validation_metric:.4f}, "
        f"{trainer.step:,} steps in {seconds:.2f} s, {trainer.step / seconds:,.0f} steps/s"
    )
    if arguments.output is not None:
        trainer.extra = preparation.to_json()
        trainer.save(arguments.output)
        print(f"saved to {arguments.output}")
    return 0


def _prepare(
    arguments: argparse.Namespace, data: datasets.Dataset
) -> tuple[Trainer, datasets.Preparation, datasets.Dataset, datasets.Dataset]:
    """The trainer, and the data as it will see them."""
    layers: list[Layer] = []
    for units in arguments.hidden:
        layers.append(Dense(units, arguments.activation))
        if arguments.dropout is not None:
            layers.append(Dropout(arguments.dropout))
    network = Network(
        [*layers, Dense(len(data.classes) if data.classes else 1)],
        inputs=data.X.shape[1],
        loss="cross_entropy" if data.classes else "squared_error",
        backend=arguments.backend,
    )
    kind: Any = OPTIMIZERS[arguments.optimizer]
    trainer = Trainer(
        network,
        kind() if arguments.lr is None else kind(arguments.lr),
        batch_size=arguments.batch_size,
        seed=arguments.seed,
        sampler=arguments.sampler,
        clip=None if arguments.clip is None else PerExampleClip(arguments.clip),
        noise=None if arguments.noise is None else GaussianNoise(arguments.noise),
        monitor=arguments.monitor,
    )
    training, held_out = datasets.split(
        data, arguments.validation, arguments.seed, arguments.backend
    )
    return trainer, datasets.Preparation.of(training), training, held_out


def _compile(arguments: argparse.Namespace, trainer: Trainer, X: Any, y: Any) -> None:
    """Have the kernels compiled, or read from the cache, before the clock starts."""
    if arguments.backend == "cpu" and not compiled_kernels(load("cpu").describe()):
        print("compiling the kernels for this machine: some 10 s, once", file=sys.stderr)
    Trainer(trainer.network, trainer.optimizer).fit(X, y, validation=(X, y))


def _describe(
    arguments: argparse.Namespace, data: datasets.Dataset, network: Network, held_out: int
) -> None:
    examples, features = data.X.shape
    task = f"{len(data.classes)} classes" if data.classes else "regression"
    widths = "-".join(map(str, (features, *arguments.hidden, network.outputs)))
    print(
        f"{arguments.data}: {examples:,} examples, {features} features, {task}; "
        f"{held_out:,} held out for validation\n"
        f"network {widths} ({network.n_parameters:,} parameters), {arguments.activation}, "
        f"{arguments.optimizer}, batches of {arguments.batch_size}"
    )
