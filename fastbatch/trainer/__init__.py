"""The trainer: a network, an optimizer, and where training stands."""

from fastbatch.trainer.trainer import MONITORS, Trainer

__all__ = ["MONITORS", "Trainer"]
