"""Where a trainer stands: its parameters, its counters, and what it has spent."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays
from fastbatch.clipping import PerExampleClip
from fastbatch.constraints import real
from fastbatch.history import EpochRecord
from fastbatch.network import Network
from fastbatch.optimizers import Optimizer
from fastbatch.privacy import GaussianNoise, Ledger, Mechanism
from fastbatch.run import Run
from fastbatch.samplers import Sampler

Array = NDArray[Any]


class Standing:
    """What all parts of a `Trainer` share."""

    network: Network
    optimizer: Optimizer
    batch_size: int
    seed: int
    sampler: Sampler
    clip: PerExampleClip | None
    noise: GaussianNoise | None
    l2: float
    monitor: tuple[str, ...]
    history: list[EpochRecord]
    extra: dict[str, Any]

    # A `State`, and while `fit` runs the backend's Training itself: there is never a second set of
    # counters that an exception could leave behind.
    _state: Any
    _examples: int  # in the data of the epoch that is under way, 0 where they are streamed
    _ledger: Ledger
    _run: Run | None  # of the fit that is under way

    @property
    def theta(self) -> Array:
        """The parameters, shape (P,): a copy. Assigning to it moves training there.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"), theta=[1, 2])
        >>> trainer.theta
        array([1., 2.], dtype=float32)
        """
        return self._state.theta.copy()

    @theta.setter
    def theta(self, theta: ArrayLike) -> None:
        self._state.theta = self._own(theta)
        if self._run is not None:
            self._run.mark()

    @property
    def slots(self) -> Array:
        """The state arrays of the optimizer, shape (optimizer.slots, P): a copy.

        Assigning to it changes them, to other numbers of the same shape.

        Examples
        --------
        >>> from fastbatch import SGD, Dense, Network, Trainer
        >>> net = Network([Dense(1)], 1, "huber", backend="reference")
        >>> trainer = Trainer(net, SGD(momentum=0.9))
        >>> trainer.slots = trainer.slots + 1.0
        >>> trainer.slots
        array([[1., 1.]], dtype=float32)
        """
        slots: Array = self._state.slots.copy()
        return slots

    @slots.setter
    def slots(self, slots: ArrayLike) -> None:
        converted = np.array(slots, self.network.dtype)
        if converted.shape != self._state.slots.shape:
            raise ValueError(
                f"slots must have shape {self._state.slots.shape}, found {converted.shape}"
            )
        if np.isnan(converted).any():  # while squares of gradients may have become infinite
            raise ValueError("slots hold NaN, expected numbers")
        self._state.slots = converted
        if self._run is not None:
            self._run.mark()

    @property
    def step(self) -> int:
        """Steps done in all.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> Trainer(Network([Dense(1)], 1, "huber", backend="reference")).step
        0
        """
        return int(self._state.step)

    @property
    def epoch(self) -> int:
        """Epochs finished in all.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> Trainer(Network([Dense(1)], 1, "huber", backend="reference")).epoch
        0
        """
        return int(self._state.epoch)

    @property
    def example_losses(self) -> Array | None:
        """The loss of each example when it was last in a batch, shape (N,), if monitored.

        Each was taken before the step, without its weight; NaN of an example that never was in a
        batch or had weight 0. None before the first fit.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
        >>> trainer = Trainer(net, theta=[0, 0], monitor=["losses"])
        >>> _ = trainer.fit([[1], [2]], [1, 3])
        >>> trainer.example_losses
        array([1., 9.], dtype=float32)
        """
        losses: Array | None = self._state.example_losses
        return None if losses is None else losses.copy()

    @property
    def example_norms(self) -> Array | None:
        """The norm of each example's gradient when it was last in a batch, (N,), if monitored.

        Before clipping; else as `example_losses`.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
        >>> trainer = Trainer(net, theta=[0, 0], monitor=["gradient_norms"])
        >>> _ = trainer.fit([[0], [0]], [1, 3])
        >>> trainer.example_norms
        array([2., 6.], dtype=float32)
        """
        norms: Array | None = self._state.example_norms
        return None if norms is None else norms.copy()

    def privacy_spent(self, delta: float) -> float:
        """Compute the epsilon of the (epsilon, delta)-differential privacy of all steps so far.

        It holds for data that differ by one example more or less, and for all that is made of the
        parameters of any step. By the privacy loss distributions of dp-accounting, an upper bound.

        It does not cover what else is known of a training: its seed (see `secure_seed`), losses
        and norms of examples, in `history` too, validation data, when it was stopped and what that
        depended on, choices made by looking at other trainings, and N itself. Two trainings with
        the same seed share their noise, so only one of them may be shown. Random numbers are not
        cryptographic, and noise in floating point leaks in its last digits (Mironov 2012, "On
        significance of the least significant bits for differential privacy").

        Parameters
        ----------
        delta : float
            In [0, 1), usually less than one over the number of examples.

        Returns
        -------
        float
            0 before the first step.

        Raises
        ------
        ValueError
            If the sampler is not ``"poisson"``, without `clip` or `noise`, or if any step was taken
            otherwise or with `sample_weight`.
        ImportError
            If dp-accounting is not installed (extra ``privacy``).

        Examples
        --------
        >>> from fastbatch import (
        ...     Dense, GaussianNoise, Network, PerExampleClip, Trainer, secure_seed
        ... )
        >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
        >>> trainer = Trainer(net, batch_size=10, seed=secure_seed(), sampler="poisson",
        ...                   clip=PerExampleClip(1.0), noise=GaussianNoise(1.0))
        >>> X = np.linspace(-1, 1, 200).reshape(-1, 1)
        >>> _ = trainer.fit(X, X, epochs=2)
        >>> round(trainer.privacy_spent(delta=1e-3), 2)
        1.4
        """
        delta = real("delta", delta, 0.0, 1.0)
        if self.sampler != "poisson":
            raise ValueError(
                f"privacy_spent knows sampler='poisson' only, found {self.sampler!r}: for other "
                "samplers no such bound is known, or none as good"
            )
        if self.clip is None or self.noise is None:
            raise ValueError(
                "without clip and noise nothing hides an example: give the trainer "
                "clip=PerExampleClip(...) and noise=GaussianNoise(...)"
            )
        return self._ledger.epsilon(self.step, delta)

    def _mechanism(self, examples: int, weights: Array | None) -> Mechanism | None:
        """What hides each of so many examples in a step."""
        if self.sampler != "poisson" or self.clip is None or self.noise is None:
            return None
        if weights is not None:  # some examples then count for more than the noise is made for
            return None
        return min(1.0, self.batch_size / examples), self.noise.multiplier

    def predict(self, X: ArrayLike, *, check_finite: bool = True) -> Array:
        """Compute the network's raw outputs with the parameters as they are now.

        Parameters
        ----------
        X : array_like, shape (N, inputs)
        check_finite : bool

        Returns
        -------
        ndarray, shape (N, K)
            Logits or log-rates for the losses that take them.

        Raises
        ------
        ValueError, TypeError
            If X has the wrong shape or kind, or numbers that are not finite.

        Examples
        --------
        >>> from fastbatch import Dense, Network, Trainer
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"), theta=[1, 2])
        >>> trainer.predict([[10]])
        array([[12.]], dtype=float32)
        """
        return self.network.predict(self._state.theta, X, check_finite=check_finite)

    def _own(self, theta: ArrayLike) -> Array:
        """A checked copy of `theta` in the network's dtype."""
        original = arrays.parameters(theta, self.network.n_parameters)
        converted = arrays.native(original, self.network.dtype)
        arrays.check_finite("theta", converted, original)
        return converted.copy()

    def _check_idle(self) -> None:
        if self._run is not None:
            raise RuntimeError("this trainer is running already: give each thread one of its own")
