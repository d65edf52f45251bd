"""The epochs of one call of `fit` or `sample`: steps, who is heard in between, and records."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from math import nan
from time import perf_counter
from typing import TYPE_CHECKING, Any

from fastbatch.callbacks import Callbacks
from fastbatch.data.feed import Feed
from fastbatch.gradient_statistics import noise_scale
from fastbatch.history import EpochRecord, five_numbers
from fastbatch.interruption import Interrupts
from fastbatch.posterior import Chain
from fastbatch.progress import Progress
from fastbatch.run import DivergenceError, Run
from fastbatch.state import State
from fastbatch.trainer.beginning import Data
from fastbatch.trainer.validation import Validation

if TYPE_CHECKING:
    from fastbatch.trainer.trainer import Trainer


@dataclass
class Epochs:
    """Takes a backend's training from epoch to epoch."""

    trainer: "Trainer"
    training: Any
    run: Run
    interrupts: Interrupts
    bar: Progress
    calls: Callbacks
    feed: Feed | None
    chain: Chain | None
    seen: int = 0  # how many examples the epoch takes, or what was left of it
    seconds: float = 0.0  # that its steps took

    def finish(self) -> bool:
        """Do the steps left in this epoch, or until the chain is complete or a callback says so.

        Returns whether the epoch is over.
        """
        training, run, feed = self.training, self.run, self.feed
        if feed is None:
            batch_size = self.trainer.batch_size
            seen = min(training.batches * batch_size, self.trainer._examples)
            seen -= training.batch * batch_size
            self.seconds = self._do_steps(training.batches)
        else:
            seen, start = 0, perf_counter()
            while (part := feed.part(self.interrupts)) is not None:
                run.rebind(part)
                seen += len(part.X) - (training.batch - part.first_batch) * feed.batch_size
                self._do_steps(feed.batches)
                if not run.epoch_is_over:
                    break
            self.seconds = perf_counter() - start
        self.seen = max(seen, 0)
        run.check_parameters()
        return run.epoch_is_over

    def _do_steps(self, batches: int | None) -> float:
        """Do the steps that the data at hand allow; return the seconds that they took."""
        training, chain, seconds = self.training, self.chain, 0.0
        while not self.run.epoch_is_over and not (chain and chain.is_complete):
            self.interrupts.deliver()
            if self.calls.look_between_steps:
                with self.interrupts.released():
                    if self.calls.between_steps(self.trainer):
                        break
            start = perf_counter()
            self.run.advance(chain.distance(training) if chain else training.batches)
            seconds += perf_counter() - start
            self.bar.advance(training.batch, batches)
            if chain:
                chain.visit(training)
        return seconds

    def close(self, validation: Validation | None = None) -> bool:
        """Write down how the epoch was, and go to the start of the next.

        Returns whether a callback ends training.
        """
        training, trainer = self.training, self.trainer
        found: dict[str, Any] = {"validation_loss": None, "validation_metric": None}
        if validation is not None:
            with self.interrupts.released():
                found = validation.judge(training.theta)
        if "noise_scale" in trainer.monitor:
            found["noise_scale"] = noise_scale(training.variance_sum, training.signal_sum)
        if "gradient_norms" in trainer.monitor:
            found["gradient_norms"] = five_numbers(training.example_norms)
        # An interrupted epoch may end with other weights, those it used all 0.
        loss = training.loss_sum / (training.weight_sum or nan)
        training.next_epoch()
        record = EpochRecord(
            epoch=training.epoch,
            step=training.step,
            loss=loss,
            metric_name=trainer.network.metric_name,
            seconds=self.seconds,
            examples_per_second=self.seen / self.seconds if self.seconds else 0.0,
            **found,
        )
        trainer.history.append(record)
        self.bar.report(record)
        with self.interrupts.released():
            return self.calls.after_epoch(trainer, record)


@contextmanager
def running(
    trainer: "Trainer",
    training: Any,
    data: Data,
    bar: Progress,
    calls: Callbacks,
    *,
    feed: Feed | None = None,
    chain: Chain | None = None,
) -> Iterator[Epochs]:
    """Let the trainer's state be that of the training, until it is over for whatever reason."""
    run = Run(training, trainer.optimizer.lr)
    X, _, weights = data
    with Interrupts() as interrupts, bar:
        trainer._state, trainer._examples, trainer._run = training, len(X), run
        trainer._ledger.begin(trainer.step, trainer._mechanism(len(X), weights))
        try:
            with feed or nullcontext():
                yield Epochs(trainer, training, run, interrupts, bar, calls, feed, chain)
        except DivergenceError:
            del trainer.history[training.epoch :]  # the last step may have been in an epoch before
            raise
        finally:
            trainer._run = None
            trainer._state = State.of(training)  # lets go of the data
