"""What is kept with a model in `Trainer.extra`, as JSON: by ``fastbatch train`` under one key."""

from typing import Any

from fastbatch.commands.configuration import Options
from fastbatch.datasets import Preparation
from fastbatch.trainer import Trainer

KEY = "fastbatch train"  # all others are the user's: of these "preparation" is read, too


def keep(trainer: Trainer, preparation: Preparation, digest: str, options: Options) -> None:
    """Put it there."""
    kept = {"preparation": preparation.to_json(), "data": digest, "options": options}
    trainer.extra[KEY] = kept


def found(trainer: Trainer) -> dict[str, Any]:
    """The way back; empty for a model that was saved in Python."""
    extra: Any = trainer.extra  # whatever a file may hold
    kept = extra.get(KEY) if isinstance(extra, dict) else None
    return kept if isinstance(kept, dict) else {}


def stated(trainer: Trainer) -> Any:
    """What the model says of its data, if anything: by the command line, or by the user."""
    extra: Any = trainer.extra
    kept = found(trainer) or (extra if isinstance(extra, dict) else {})
    return kept.get("preparation")


def preparation(trainer: Trainer) -> Preparation:
    """How the data were prepared, checked."""
    return Preparation.from_json(stated(trainer))
