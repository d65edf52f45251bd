"""How a trainer becomes a checkpoint, and a checkpoint a trainer."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, Self

from fastbatch import backends, checkpoint, samplers
from fastbatch.checkpoint import CheckpointError
from fastbatch.constraints import integer
from fastbatch.history import EpochRecord, checked
from fastbatch.optimizers import Optimizer, as_optimizer
from fastbatch.privacy import Ledger
from fastbatch.samplers import Sampler
from fastbatch.state import State
from fastbatch.trainer.standing import Standing

# What a trainer is made with, beside theta.
_OPTIONS = (
    *("network", "optimizer", "batch_size", "seed", "sampler", "clip", "noise", "l2", "monitor"),
)


class Saving(Standing):
    """To a file and back."""

    def save(self, path: str | Path) -> None:
        """Write a checkpoint from which `load` goes on bit for bit, also amid an epoch.

        A safetensors file without any pickle. It is replaced atomically, so that a whole one is
        there whenever the process is killed; beside it a hidden one may then be left, to be
        deleted. A schedule or sampler that is a function of your own cannot be saved: the file
        only notes that there was one.

        Parameters
        ----------
        path : str or path

        Raises
        ------
        OSError
            If there is no room or no right to. An older file and the trainer are as they were, so
            that it can be saved elsewhere.
        TypeError
            If `extra` holds what JSON cannot.

        Examples
        --------
        >>> import tempfile
        >>> from fastbatch import Dense, Network, Trainer
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"), theta=[1, 2])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save(f"{folder}/model.safetensors")
        ...     Trainer.load(f"{folder}/model.safetensors").theta
        array([1., 2.], dtype=float32)
        """
        tensors, numbers = State.of(self._state).split()
        description = {name: getattr(self, name) for name in _OPTIONS} | {
            "state": numbers,
            "examples": self._examples,
            "ledger": self._ledger,
            "extra": _json(self.extra),  # as one string, since its keys are not ours
            "history": {
                field.name: [getattr(record, field.name) for record in self.history]
                for field in fields(EpochRecord)
            },
        }
        checkpoint.write(path, tensors, description)

    @classmethod
    def load(
        cls,
        path: str | Path,
        *,
        optimizer: Optimizer | str | None = None,
        sampler: Sampler | None = None,
        backend: str | None = None,
    ) -> Self:
        """Read a checkpoint.

        Parameters
        ----------
        path : str or path
        optimizer : Optimizer or str, optional
            In place of the saved one; needed if that had a schedule that is a function of your
            own. It must keep as much state.
        sampler : str or callable, optional
            In place of the saved one; needed if that was a function of your own.
        backend : {"cpu", "reference", "cuda"}, optional
            Who computes, in place of the saved one; needed where that cannot be used, as
            ``"cuda"`` without a GPU. ``"cpu"`` and ``"cuda"`` go on to the same bits.

        Returns
        -------
        Trainer
            Standing where the saved one stood.

        Raises
        ------
        CheckpointError
            If the file is damaged, not a checkpoint, of a later format, or needs an optimizer, a
            sampler or another backend.
        OSError
            If it cannot be opened.
        ValueError, TypeError
            If `optimizer`, `sampler` or `backend` is unknown or of the wrong kind, or the backend
            cannot be used here.

        Examples
        --------
        >>> import tempfile
        >>> from fastbatch import Dense, Network, Trainer
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save(f"{folder}/model.safetensors")
        ...     Trainer.load(f"{folder}/model.safetensors", optimizer="adamw").optimizer.name
        'adamw'
        """
        if optimizer is not None:
            optimizer = as_optimizer(optimizer)
        if sampler is not None:
            samplers.check(sampler)
        if backend is not None:
            backends.check(backend)
        tensors, description = checkpoint.read(path)
        try:
            if backend is not None:
                description["network"]["backend"] = backend
            saved = checkpoint.decode(description)
            options = {name: saved[name] for name in _OPTIONS} | {"theta": tensors["theta"]}
            options["optimizer"] = optimizer or options["optimizer"]
            options["sampler"] = sampler or options["sampler"]
            trainer = cls(**options)
            trainer._state = State(**tensors, **saved["state"])
            trainer._examples = integer("examples", saved["examples"], 0)
            trainer._state.check(trainer.network.dtype, trainer._examples)
            if trainer._examples:
                batches = -(-trainer._examples // trainer.batch_size)
                integer("batch", trainer._state.batch, 0, batches + 1)
            trainer._ledger = Ledger(saved["ledger"].entries)
            trainer._ledger.check(trainer.step)
            columns = saved["history"]
            rows = zip(*columns.values(), strict=True)
            records = (EpochRecord(**dict(zip(columns, row, strict=True))) for row in rows)
            trainer.history = [checked(record) for record in records]
            trainer.extra = json.loads(saved["extra"])
            network, slots = trainer.network, tensors["slots"]
        except backends.UnusableBackendError as error:
            raise CheckpointError(f"{path} must be loaded with backend='cpu': {error}") from error
        except checkpoint.UNREADABLE as error:
            raise CheckpointError(f"{path} does not describe a trainer: {error!r}") from error
        for option, value, what in (
            ("optimizer", trainer.optimizer.lr, "learning rate"),
            ("sampler", trainer.sampler, "sampler"),
        ):
            if value is checkpoint.user_function:
                raise CheckpointError(
                    f"{path} was saved with a {what} that is a function of your own, which is not "
                    f"in the file: give load {option}=..."
                )
        expected = (trainer.optimizer.slots, network.n_parameters)
        if slots.shape != expected or slots.dtype != network.dtype:
            raise CheckpointError(
                f"{path} holds state arrays of the optimizer of shape {slots.shape} and dtype "
                f"{slots.dtype}, but {trainer.optimizer.name} keeps {expected} in "
                f"{network.dtype}: give load the optimizer it was saved with"
            )
        return trainer


def _json(extra: Any) -> str:
    try:
        return json.dumps(extra)
    except (TypeError, ValueError) as error:
        for key in extra if isinstance(extra, dict) else ():
            try:
                json.dumps({key: extra[key]})
            except (TypeError, ValueError):
                raise TypeError(f"extra[{key!r}] must be what JSON can hold: {error}") from error
        raise
