"""What ``fastbatch train`` keeps with a model: under one key of `Trainer.extra`, as JSON."""

from typing import Any

from fastbatch.commands.configuration import Options
from fastbatch.datasets import Preparation
from fastbatch.trainer import Trainer

KEY = "fastbatch train"  # all others are the user's


def keep(trainer: Trainer, preparation: Preparation, digest: str, options: Options) -> None:
    """Put it there."""
    kept = {"preparation": preparation.to_json(), "data": digest, "options": options}
    trainer.extra[KEY] = kept


def found(trainer: Trainer) -> dict[str, Any]:
    """The way back; empty for a model that was saved in Python."""
    extra: Any = trainer.extra  # whatever a file may hold
    kept = extra.get(KEY) if isinstance(extra, dict) else None
    return kept if isinstance(kept, dict) else {}


def preparation(trainer: Trainer) -> Preparation:
    """How the data were prepared, checked."""
    return Preparation.from_json(found(trainer).get("preparation"))
