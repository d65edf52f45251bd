"""What ``fastbatch train`` can be told."""

import argparse
from pathlib import Path

from fastbatch import pictures
from fastbatch.backends import BACKENDS
from fastbatch.callbacks import CSVLog, JSONLinesLog
from fastbatch.commands import configuration
from fastbatch.commands.paths import best_path, check_apart, check_file
from fastbatch.constraints import integer, real
from fastbatch.datasets import BUNDLED, MOST_CLASSES, SUFFIXES
from fastbatch.layers import ACTIVATIONS
from fastbatch.network import SEEDS
from fastbatch.optimizers import OPTIMIZERS, SGLD
from fastbatch.replacement import check_writable
from fastbatch.samplers import SAMPLERS
from fastbatch.trainer import MONITORS

# What decides about the result: a run that is resumed has it as it was.
MODEL: configuration.Options = {
    "target": None,
    "weight_column": None,
    "categorical": [],
    "impute": False,
    "stream": False,
    "validation": 0.1,
    "hidden": [64, 64],
    "activation": "relu",
    "dropout": None,
    "batch_size": 32,
    "optimizer": "adam",
    "lr": None,
    "l2": 0.0,
    "sampler": "shuffle",
    "clip": None,
    "noise": None,
    "monitor": [],
    "seed": 0,
}
# What may be another then.
RUN: configuration.Options = {
    "data": None,
    "epochs": 30,
    "threads": None,
    "backend": "cpu",
    "metrics": [],
    "patience": None,
    "time_limit": None,
    "output": None,
    "checkpoint_every": None,
    "log": None,
    "plot": None,
}
DEFAULTS = {**MODEL, **RUN, "resume": False}

LOGS: dict[str, type[CSVLog] | type[JSONLinesLog]] = {".csv": CSVLog, ".jsonl": JSONLinesLog}

EPILOG = """\
examples:
  fastbatch train digits --hidden 64 64 --epochs 30 --output model.safetensors
  fastbatch train flowers.csv --target species --patience 5 --log log.csv
  fastbatch train clicks.parquet --target price --stream --epochs 2 --output model.safetensors

A run with --output is saved when it is interrupted, too, and goes on with --resume, to the same
bits as if nothing had been. Its options are written to OUTPUT.toml, a file for --config."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments; what is not given has no value."""
    parser.argument_default = argparse.SUPPRESS
    parser.epilog = EPILOG
    suffixes = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    parser.add_argument("data", nargs="?", help=f"{', '.join(BUNDLED)}, or a {suffixes} file")

    add = parser.add_argument_group("data").add_argument
    add(
        "--target",
        metavar="NAME",
        help="what to predict: a column, by name or index, or a key of an NPZ file (default: y); "
        f"text and up to {MOST_CLASSES} different whole numbers are classes",
    )
    add(
        "--weight-column",
        metavar="NAME",
        help="how much each example counts in training, and no feature: a column, or a key",
    )
    add(
        "--categorical",
        nargs="*",
        metavar="COLUMN",
        help="numbers that are names: one-hot encoded, as columns of text are anyway",
    )
    add(
        "--impute", action="store_true", help="let missing numbers be the mean, missing text a text"
    )
    add(
        "--stream",
        action="store_true",
        help="read a .csv or .parquet file by blocks in each epoch: for those larger than memory",
    )
    add("--validation", type=float, metavar="SHARE", help="of examples held out (default: 0.1)")

    add = parser.add_argument_group("network and training").add_argument
    add("--hidden", type=int, nargs="*", metavar="UNITS", help="hidden layers (default: 64 64)")
    add("--activation", choices=ACTIVATIONS, metavar="NAME", help="of hidden units (default: relu)")
    add("--dropout", type=float, metavar="RATE", help="share of hidden units dropped in a step")
    add("--epochs", type=int, help="in all, those before --resume included (default: 30)")
    add("--batch-size", type=int, help="examples in a step (default: 32)")
    # A single draw from the posterior is no model.
    optimizers = [name for name in OPTIMIZERS if name != SGLD.name]
    add("--optimizer", choices=optimizers, help="(default: adam)")
    add("--lr", type=float, help="learning rate (default: the optimizer's own)")
    add("--l2", type=float, metavar="PENALTY", help="on large weights, as Trainer(l2=...)")
    add("--sampler", choices=SAMPLERS, help="how batches are drawn (default: shuffle)")
    add("--clip", type=float, metavar="NORM", help="largest norm of an example's gradient")
    add("--noise", type=float, metavar="MULTIPLIER", help="Gaussian noise, in units of --clip")
    add("--seed", type=int, help="of initial values, samples and the split (default: 0)")
    add("--threads", type=int, help="does not change the result (default: all cores)")
    add("--backend", choices=BACKENDS, help="who computes (default: cpu)")

    add = parser.add_argument_group("run").add_argument
    add("--config", metavar="FILE", help="TOML with any of these options; the command line wins")
    add("--output", metavar="FILE", help="where to save the model (.safetensors)")
    add("--resume", action="store_true", help="go on with the run saved at --output, if any")
    add("--checkpoint-every", type=int, metavar="EPOCHS", help="save so often, not only in the end")
    add("--time-limit", type=float, metavar="SECONDS", help="stop then, also amid an epoch")
    add(
        "--patience",
        type=int,
        metavar="EPOCHS",
        help="stop after so many without a lower validation loss; the best model is saved, too",
    )
    add(
        "--metrics",
        nargs="*",
        metavar="NAME",
        help="more to say of held-out examples, such as balanced_accuracy, auc, log_loss, "
        "mean_absolute_error",
    )
    add(
        "--monitor",
        nargs="*",
        choices=MONITORS,
        metavar="WHAT",
        help=f"kept with the model: {', '.join(MONITORS)} (fastbatch inspect draws the last)",
    )
    add("--log", metavar="FILE", help=f"where to write a line for each epoch ({', '.join(LOGS)})")
    add("--plot", metavar="FILE", help="where to draw learning curves (.png, .svg)")


def given(arguments: argparse.Namespace) -> configuration.Options:
    """What the command line says, and the file that it names."""
    stated = {name: value for name, value in vars(arguments).items() if name in DEFAULTS}
    if "config" not in arguments:
        return stated
    return configuration.read(arguments.config, configure, DEFAULTS) | stated


def check(options: argparse.Namespace, config: str | None) -> None:
    """Refuse what cannot be, before anything is computed."""
    if options.data is None:
        raise ValueError("say what to train on: a data set or a file")
    integer("--epochs", options.epochs, 1)
    integer("--seed", options.seed, 0, SEEDS)
    for units in options.hidden:
        integer("--hidden", units, 1)
    for name in ("batch_size", "threads", "patience", "checkpoint_every"):
        if getattr(options, name) is not None:
            integer(f"--{name.replace('_', '-')}", getattr(options, name), 1)
    for name in ("lr", "l2", "time_limit"):
        if getattr(options, name) is not None:
            real(f"--{name.replace('_', '-')}", getattr(options, name))
    if options.dropout is not None:
        real("--dropout", options.dropout, 0.0, 1.0)
    if options.stream:
        _check_stream(options)
    if options.checkpoint_every is not None and options.output is None:
        raise ValueError("--checkpoint-every saves to --output, which is missing")
    check_file("--output", options.output)
    check_file("--log", options.log, tuple(LOGS))
    check_file("--plot", options.plot)
    keeps_best = options.output is not None and options.patience is not None
    check_apart(
        {"the data": None if options.data in BUNDLED else options.data, "--config": config},
        {
            "--output": options.output,
            "the best model": best_path(options.output) if keeps_best else None,
            "--log": options.log,
            "--plot": options.plot,
        },
    )
    if options.log is not None and not options.resume:
        _check_empty(options.log)
    if options.output is not None:
        check_writable(options.output)
        check_writable(f"{options.output}.toml")
    if options.plot is not None:
        pictures.check(options.plot)


def _check_stream(options: argparse.Namespace) -> None:
    """Refuse what rests on all examples."""
    by_example = [f"--monitor {name}" for name in options.monitor if name != "noise_scale"]
    if options.sampler not in ("shuffle", "sequential"):
        by_example.append(f"--sampler {options.sampler}")
    if by_example:
        raise ValueError(
            f"{by_example[0]} rests on all examples, of which --stream shows a part at a time: "
            "leave one of them out"
        )


def _check_empty(log: str) -> None:
    """Refuse a log that a new run would go on with as if it were its own."""
    if Path(log).is_file() and Path(log).stat().st_size:
        raise ValueError(
            f"--log {log} is there already, and a new run begins a new log: give another name, "
            "delete the file, or go on with its run by --resume"
        )
