"""From a trainer and data to the backend's training on them."""

from dataclasses import replace
from functools import partial
from typing import Any

from numpy.typing import NDArray

from fastbatch import arrays, backends, samplers
from fastbatch.data.feed import Feed
from fastbatch.optimizers import SGLD
from fastbatch.samplers import sampling
from fastbatch.trainer.standing import Standing

Array = NDArray[Any]
Data = tuple[Array, Array, Array | None]  # X, y, weights


class Beginning(Standing):
    """What `fit`, `sample` and the learning-rate finder begin with."""

    def _check_noise(self) -> None:
        if self.noise is not None and isinstance(self.optimizer, SGLD):
            raise ValueError(
                "noise and SGLD do not go together, since SGLD adds noise of its own: leave noise "
                "out, or take SGD"
            )

    def _check_data(
        self, X: Any, y: Any, weights: Any, finite: bool, *, part: bool = False
    ) -> Data:
        X, y = self.network.check_examples(X, y, check_finite=finite)
        arrays.not_empty(X)
        return X, y, arrays.sample_weights(weights, len(X), self.network.dtype, part=part)

    def _feed(self, batches: Any, epochs: int, finite: bool) -> Feed:
        """Checked batches for so many epochs, from where this trainer stands."""
        if self.sampler not in ("shuffle", "sequential"):
            raise ValueError(
                f"sampler {self.sampler!r} draws from all examples, which batches= does not show: "
                "give X and y, or a trainer with sampler='sequential'"
            )
        by_example = [name for name in self.monitor if name != "noise_scale"]
        if by_example:
            raise ValueError(
                f"monitor={by_example} keeps a number for each of N examples, which batches= does "
                "not show: give X and y, or leave them out"
            )
        if isinstance(self.optimizer, SGLD):
            raise ValueError(
                "SGLD multiplies by the number N of all examples, which batches= does not show: "
                "give X and y, or take another optimizer"
            )
        return Feed(
            batches,
            partial(self._check_data, finite=finite, part=True),
            batch_size=self.batch_size,
            epochs=range(self.epoch, self.epoch + epochs),
            done=self._state.batch,
        )

    def _training(
        self, X: Array, y: Array | None, weights: Array | None, *, batch_size: int | None = None
    ) -> Any:
        """The backend's training on these data, standing where this trainer stands.

        No data and a `batch_size` if they will be streamed.
        """
        if self._state.batch and len(X) != self._examples:
            raise ValueError(
                f"epoch {self.epoch + 1} was interrupted amid {_amount(self._examples)} and is "
                f"finished first, found {_amount(len(X))}: give the same data, or begin anew with "
                "Trainer(..., theta=trainer.theta)"
            )
        self._check_noise()  # again, for the optimizer may be another by now
        if len(self._state.slots) != self.optimizer.slots:
            raise ValueError(
                f"{self.optimizer.name} keeps {self.optimizer.slots} state arrays, the optimizer "
                f"before kept {len(self._state.slots)}: begin anew with "
                "Trainer(network, optimizer, theta=trainer.theta)"
            )
        kernels = backends.load(self.network.backend)
        is_sgld = isinstance(self.optimizer, SGLD)
        noise: tuple[float | None, int] | None = (None, self.seed) if is_sgld else None
        if self.clip is not None and self.noise is not None:
            layers = len(self.network.plan.parametric)
            deviation = self.noise.multiplier * self.clip.sensitivity(layers)
            noise = deviation, self.seed if self.noise.seed is None else self.noise.seed
        options: dict[str, Any] = {"batch_size": batch_size}
        if batch_size is None:
            options = sampling(
                self.sampler,
                kernels,
                X,
                weights,
                batch_size=self.batch_size,
                seed=self.seed,
                reduction="sum" if is_sgld else "mean",
            )
        watched = ("losses", "gradient_norms") if samplers.weighs(self.sampler) else ()
        training = kernels.Training(
            replace(self.network.plan, draw=self.seed, dropping=True),
            self.optimizer,
            X,
            y,
            weights,
            **options,
            clip=self.clip,
            noise=noise,
            l2=self.l2,
            monitor={*self.monitor, *watched},
        )
        self._state.put_into(training, len(X))
        return training


def _amount(examples: int) -> str:
    return f"{examples} examples" if examples else "a stream of batches"
