"""The trainer: a network, an optimiser, and where training stands."""

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import fields, replace
from functools import partial
from math import nan
from pathlib import Path
from time import perf_counter
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays, backends, checkpoint, metrics, samplers
from fastbatch.callbacks import Callback, Callbacks
from fastbatch.checkpoint import CheckpointError
from fastbatch.clipping import PerExampleClip
from fastbatch.constraints import integer, one_of, real
from fastbatch.data.feed import Feed
from fastbatch.gradient_statistics import noise_scale
from fastbatch.history import EpochRecord, checked, five_numbers
from fastbatch.interruption import Interrupts
from fastbatch.losses import LOSSES
from fastbatch.network import SEEDS, Network
from fastbatch.optimizers import SGLD, Adam, Optimizer, as_optimizer
from fastbatch.posterior import Chain, PosteriorSamples
from fastbatch.privacy import GaussianNoise, Ledger, Mechanism
from fastbatch.progress import Progress
from fastbatch.run import DivergenceError, Run
from fastbatch.samplers import Sampler, sampling
from fastbatch.state import State

Array = NDArray[Any]
Data = tuple[Array, Array, Array | None]  # X, y, weights

MONITORS = ("losses", "gradient_norms", "noise_scale")

# Products and sums in one call of a kernel for validation, some 20 ms: none hears Ctrl-C.
EVALUATION = 1 << 30


class Trainer:
    """Trains a network by mini-batch gradient descent and keeps what is needed to go on.

    Parameters
    ----------
    network : Network
    optimizer : Optimizer or str
        `SGD`, `Adam`, `AdamW`, `RMSprop`, `Adagrad` or `SGLD`; a name in small letters means the
        usual hyper-parameters. For SGLD, a batch stands for the sum over all examples: its sum is
        multiplied by N over its size.
    batch_size : int
        Examples per step; the last batch of an epoch may be smaller.
    seed : int
        Of the samples, of the noise, of what `Dropout` drops, and of the initial parameters if
        `theta` is not given.
    sampler : str or callable
        Which examples a batch takes. An epoch has as many batches as it takes for all examples,
        whatever the sampler.

        - ``"shuffle"``: all in a new order each epoch (without replacement);
        - ``"sequential"``: all as they stand;
        - ``"replacement"``: each example of a batch is drawn from all of them;
        - ``"poisson"``: each example is in each batch with probability ``batch_size / N``, so that
          batches differ in size, and a step divides by the size that is expected;
        - a function ``(losses, norms) -> weights``, all of shape (N,): each example of a batch is
          drawn from all of them, with a probability in proportion to its weight, and its gradient
          is divided by that probability, so that a step is right on average. It is called before
          each epoch with the loss of each example and the norm of its gradient when it was last in
          a batch, NaN where it never was, and must depend on nothing else;
        - an `Order`: all in an order of your own.
    theta : array_like, shape (P,), optional
        Where to begin, instead of ``network.init(seed)``.
    clip : PerExampleClip, optional
        What is done to the gradient of each example before they are summed.
    noise : GaussianNoise, optional
        What is added to the sum; needs `clip`. SGLD has noise of its own.
    l2 : float
        A penalty on large weights: to the sum of a batch's losses comes ``l2 / 2`` times the sum of
        the squares of all weights, biases left out, and so ``l2 * weight`` to the sum of the
        gradients, divided with it by the sum of the weights of the examples. Losses that are
        reported do not hold it. Weight decay of an optimizer is not divided, and reaches biases.
    monitor : sequence of str
        What to look at while training: ``"losses"`` and ``"gradient_norms"`` of the examples,
        ``"noise_scale"`` of the batches. A function as sampler gets the first two anyway.

    Attributes
    ----------
    history : list of EpochRecord
        All finished epochs.
    samples : PosteriorSamples or None
        What the last call of `sample` has collected, all or those before it was interrupted; not
        saved.
    extra : dict
        Whatever else belongs to the model and JSON can hold, such as the names of the classes;
        it is saved and loaded with the rest.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range, unknown or of the wrong kind.

    Notes
    -----
    The same network, data, options and seed give the same bits, for any number of threads and
    however often training is interrupted, saved, loaded and resumed.

    Examples
    --------
    >>> from fastbatch import Adam, Dense, Network
    >>> net = Network([Dense(8, "tanh"), Dense(1)], inputs=1, loss="squared_error",
    ...               backend="reference")
    >>> X = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> trainer = Trainer(net, Adam(0.05), batch_size=16, seed=0)
    >>> history = trainer.fit(X, X**2, epochs=100, validation=(X, X**2))
    >>> history[-1].validation_metric > 0.95
    True
    >>> trainer.predict(X).shape
    (64, 1)

    Batches that prefer examples of large loss:

    >>> trainer = Trainer(net, sampler=lambda losses, norms: np.nan_to_num(losses, nan=1) + 0.1)
    >>> history = trainer.fit(X, X**2, epochs=2)
    >>> trainer.example_losses.shape
    (64,)
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer | str = Adam(),  # noqa: B008  (it is immutable)
        *,
        batch_size: int = 32,
        seed: int = 0,
        sampler: Sampler = "shuffle",
        theta: ArrayLike | None = None,
        clip: PerExampleClip | None = None,
        noise: GaussianNoise | None = None,
        l2: float = 0.0,
        monitor: Iterable[str] = (),
    ) -> None:
        if not isinstance(network, Network):
            raise TypeError(f"network must be a Network, found {type(network).__name__}")
        self.network = network
        self.optimizer = as_optimizer(optimizer)
        self.batch_size = integer("batch_size", batch_size, 1)
        self.seed = integer("seed", seed, 0, SEEDS)
        self.sampler = samplers.check(sampler)
        self.clip, self.noise = _check_clip(clip, noise, len(network.plan.parametric))
        self._check_noise()
        self.l2 = real("l2", l2)
        self.monitor = _check_monitor(monitor)
        self.history: list[EpochRecord] = []
        self.samples: PosteriorSamples | None = None
        self.extra: dict[str, Any] = {}
        theta = network.init(self.seed) if theta is None else self._own(theta)
        slots = np.zeros((self.optimizer.slots, network.n_parameters), network.dtype)
        # During fit this is the backend's Training itself: there is never a second set of
        # counters that an exception could leave behind.
        self._state: Any = State(theta, slots)
        self._examples = 0  # in the data of the epoch that is under way, 0 where they are streamed
        self._ledger = Ledger()
        self._run: Run | None = None  # of the fit that is under way

    @property
    def theta(self) -> Array:
        """The parameters, shape (P,): a copy. Assigning to it moves training there.

        Examples
        --------
        >>> from fastbatch import Dense, Network
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
        >>> from fastbatch import SGD, Dense, Network
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
        self._state.slots = converted
        if self._run is not None:
            self._run.mark()

    @property
    def step(self) -> int:
        """Steps done in all.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> Trainer(Network([Dense(1)], 1, "huber", backend="reference")).step
        0
        """
        return int(self._state.step)

    @property
    def epoch(self) -> int:
        """Epochs finished in all.

        Examples
        --------
        >>> from fastbatch import Dense, Network
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
        >>> from fastbatch import Dense, Network
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
        >>> from fastbatch import Dense, Network
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
        >>> from fastbatch import Dense, GaussianNoise, Network, PerExampleClip, secure_seed
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

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"), theta=[1, 2])
        >>> trainer.predict([[10]])
        array([[12.]], dtype=float32)
        """
        return self.network.predict(self._state.theta, X, check_finite=check_finite)

    def fit(
        self,
        X: ArrayLike | None = None,
        y: ArrayLike | None = None,
        *,
        batches: Any = None,
        epochs: int = 1,
        sample_weight: ArrayLike | None = None,
        validation: tuple[ArrayLike, ArrayLike] | None = None,
        metrics: Iterable[str] = (),
        callbacks: Iterable[Callback] = (),
        verbose: int = 0,
        check_finite: bool = True,
    ) -> list[EpochRecord]:
        """Train for some epochs more, from where the trainer stands.

        An epoch that was interrupted is finished first and counts as one of them; the data must
        then be the same again.

        Parameters
        ----------
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        batches : iterable or callable, optional
            In place of X, y and `sample_weight`: a `fastbatch.data.Stream`; or an iterable of
            batches ``(X, y)`` or ``(X, y, sample_weight)``, each of which makes one step and has at
            most `batch_size` examples; or a function that returns such an iterable for each epoch.
            They come as they are given, so that the trainer's sampler has no part in it. An
            interrupted epoch goes on after as many batches as were done.
        epochs : int
        sample_weight : array_like, shape (N,), optional
            A batch's gradient is the weighted mean of its examples' gradients.
        validation : pair of array_like, optional
            Examples and targets on which loss and metric are taken after each epoch.
        metrics : sequence of str
            What else to judge the outputs for the validation data by, such as ``["auc"]``: see
            `fastbatch.metrics`.
        callbacks : sequence of callable
            Called after each epoch with the trainer and the `EpochRecord`; a true answer of any of
            them ends training: see `fastbatch.callbacks`.
        verbose : {0, 1, 2}
            1 shows a bar if standard error is a terminal, 2 also logs a line for each epoch, as
            ``logging.getLogger("fastbatch")`` at level INFO.
        check_finite : bool
            Whether to look for NaN and infinities in the data.

        Returns
        -------
        list of EpochRecord
            The epochs finished by this call; ``trainer.history`` has all.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; nothing is trained then. If what a function as sampler
            returns does not; training then stands at the start of that epoch. If one of `batches`
            does not; training then stands before it.
        DivergenceError
            If the loss stops being finite; the last good parameters are kept.
        KeyboardInterrupt
            On Ctrl-C, between two steps; calling `fit` again goes on to the same bits.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"))
        >>> [record.epoch for record in trainer.fit([[1], [2]], [1, 2], epochs=2)]
        [1, 2]
        >>> [record.epoch for record in trainer.fit([[1], [2]], [1, 2])]
        [3]

        Two batches, and so two steps in each epoch:

        >>> two = [([[1], [2]], [1, 2]), ([[3]], [3])]
        >>> [record.step for record in trainer.fit(batches=two, epochs=2)]
        [5, 7]
        """
        self._check_idle()
        epochs = integer("epochs", epochs, 1)
        calls = Callbacks(callbacks)
        bar = Progress(verbose, self.epoch, self.epoch + epochs)
        names = _check_metrics(metrics, self.network, validation)
        feed = None
        if batches is None and (X is not None or y is not None):
            data: Any = self._check_data(X, y, sample_weight, check_finite)
        elif batches is None or X is not None or y is not None or sample_weight is not None:
            raise TypeError(
                "fit takes X, y and sample_weight, or batches in place of them, found "
                + ("neither" if batches is None else "both")
            )
        else:
            feed = self._feed(batches, epochs, check_finite)
            data = np.empty((0, self.network.inputs), self.network.dtype), None, None
        if validation is not None:
            validation = self._check_validation(validation, check_finite)
        calls.before_steps(self)
        training = self._training(*data, batch_size=feed.batch_size if feed else None)

        first = len(self.history)
        with self._running(training, bar, *data) as (run, interrupts), feed or nullcontext():
            for _ in range(epochs):
                seen, seconds = self._finish_epoch(run, training, interrupts, bar, calls, feed=feed)
                if not run.epoch_is_over:
                    break
                validated: dict[str, Any] = {}
                if validation is not None:
                    with interrupts.released():
                        validated = self._evaluate(training.theta, *validation, names)
                record = self._close_epoch(training, seen, seconds, **validated)
                bar.report(record)
                with interrupts.released():
                    if calls.after_epoch(self, record):
                        break
        return self.history[first:]

    def sample(
        self,
        X: ArrayLike,
        y: ArrayLike,
        samples: int,
        *,
        burn_in: int = 0,
        thinning: int = 1,
        sample_weight: ArrayLike | None = None,
        verbose: int = 0,
        check_finite: bool = True,
    ) -> PosteriorSamples:
        """Train on, and keep the parameters of some steps: with `SGLD`, samples of the posterior.

        Those are kept after whose step the number of all steps so far is a multiple of `thinning`
        and above `burn_in`. After the last one the trainer stands amid an epoch, from which `fit`
        and `sample` go on. With other optimisers the mean of the samples averages the iterates
        (Polyak & Juditsky 1992, "Acceleration of stochastic approximation by averaging").

        Parameters
        ----------
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        samples : int
            How many to keep; each takes the memory of the parameters.
        burn_in : int
            Steps before the chain counts, among all that the trainer has ever done.
        thinning : int
            Steps from sample to sample.
        sample_weight : array_like, shape (N,), optional
            An example of weight 2 is one that was observed twice.
        verbose : {0, 1, 2}
            As for `fit`.
        check_finite : bool
            Whether to look for NaN and infinities in the data.

        Returns
        -------
        PosteriorSamples
            Also in ``trainer.samples``. Finished epochs are in ``trainer.history``.

        Raises
        ------
        ValueError, TypeError
            If an argument does not fit; nothing is done then.
        DivergenceError
            If the loss stops being finite; the last good parameters are kept.
        KeyboardInterrupt
            On Ctrl-C, between two steps. The samples so far are in ``trainer.samples``; calling
            again with the same `burn_in` and `thinning` gives those that were still to come, to the
            same bits.

        Examples
        --------
        >>> from fastbatch import SGLD, Dense, Network
        >>> net = Network([Dense(1)], 1, "squared_error", backend="reference")
        >>> trainer = Trainer(net, SGLD(0.01), batch_size=2)
        >>> samples = trainer.sample([[1], [2], [3]], [1, 2, 3], 3, burn_in=100, thinning=10)
        >>> samples.steps
        array([110, 120, 130])
        """
        self._check_idle()
        samples = integer("samples", samples, 1)
        burn_in, thinning = integer("burn_in", burn_in, 0), integer("thinning", thinning, 1)
        data = self._check_data(X, y, sample_weight, check_finite)
        training = self._training(*data)

        skipped = max(self.step, burn_in) // thinning
        chain = Chain(self.network, thinning * np.arange(skipped + 1, skipped + samples + 1))
        steps = thinning * (skipped + samples) - self.step
        epochs = -(-(training.batch + steps) // training.batches)
        bar = Progress(verbose, self.epoch, self.epoch + epochs)
        with self._running(training, bar, *data) as (run, interrupts):
            try:
                while not chain.is_complete:
                    seen, seconds = self._finish_epoch(
                        run, training, interrupts, bar, Callbacks(()), chain=chain
                    )
                    if run.epoch_is_over:
                        bar.report(self._close_epoch(training, seen, seconds))
            finally:
                self.samples = chain.samples(until=training.step)
        return self.samples

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

        Examples
        --------
        >>> import tempfile
        >>> from fastbatch import Dense, Network
        >>> trainer = Trainer(Network([Dense(1)], 1, "huber", backend="reference"), theta=[1, 2])
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     trainer.save(f"{folder}/model.safetensors")
        ...     Trainer.load(f"{folder}/model.safetensors").theta
        array([1., 2.], dtype=float32)
        """
        tensors, numbers = State.of(self._state).split()
        description = {
            "network": self.network,
            "optimizer": self.optimizer,
            "batch_size": self.batch_size,
            "seed": self.seed,
            "sampler": self.sampler,
            "clip": self.clip,
            "noise": self.noise,
            "l2": self.l2,
            "monitor": self.monitor,
            "state": numbers,
            "examples": self._examples,
            "ledger": self._ledger,
            "extra": json.dumps(self.extra),  # as one string, since its keys are not ours
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

        Returns
        -------
        Trainer
            Standing where the saved one stood.

        Raises
        ------
        CheckpointError
            If the file is damaged, not a checkpoint, of a later format, or needs an optimiser or a
            sampler.
        OSError
            If it cannot be opened.

        Examples
        --------
        See `save`.

        >>> Trainer.load("pyproject.toml")
        Traceback (most recent call last):
        fastbatch.checkpoint.CheckpointError: pyproject.toml is damaged or not a checkpoint ...
        """
        if optimizer is not None:
            optimizer = as_optimizer(optimizer)
        if sampler is not None:
            samplers.check(sampler)
        tensors, description = checkpoint.read(path)
        try:
            saved = checkpoint.decode(description)
            trainer = cls(
                saved["network"],
                optimizer or saved["optimizer"],
                batch_size=saved["batch_size"],
                seed=saved["seed"],
                sampler=sampler or saved["sampler"],
                theta=tensors["theta"],
                clip=saved["clip"],
                noise=saved["noise"],
                l2=saved.get("l2", 0.0),  # older files know of none
                monitor=saved["monitor"],
            )
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

    def _own(self, theta: ArrayLike) -> Array:
        """A checked copy of `theta` in the network's dtype."""
        original = arrays.parameters(theta, self.network.n_parameters)
        converted = arrays.native(original, self.network.dtype)
        arrays.check_finite("theta", converted, original)
        return converted.copy()

    def _check_validation(self, validation: Any, check_finite: bool) -> tuple[Array, Array]:
        if not isinstance(validation, tuple | list) or len(validation) != 2:
            raise TypeError(
                "validation must be a pair of examples and targets, validation=(X, y), "
                f"found {type(validation).__name__}"
            )
        names = ("validation X", "validation y")
        X, y = self.network.check_examples(*validation, names=names, check_finite=check_finite)
        arrays.not_empty(X)
        return X, y

    def _check_idle(self) -> None:
        if self._run is not None:
            raise RuntimeError("this trainer is running already: give each thread one of its own")

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
            monitor=self._watched(),
        )
        self._state.put_into(training, len(X))
        return training

    def _watched(self) -> set[str]:
        """What training has to look at: what is asked for, and what a function as sampler gets."""
        return {
            *self.monitor,
            *(("losses", "gradient_norms") if samplers.weighs(self.sampler) else ()),
        }

    def _mechanism(self, examples: int, weights: Array | None) -> Mechanism | None:
        """What hides each of so many examples in a step."""
        if self.sampler != "poisson" or self.clip is None or self.noise is None:
            return None
        if weights is not None:  # some examples then count for more than the noise is made for
            return None
        return min(1.0, self.batch_size / examples), self.noise.multiplier

    @contextmanager
    def _running(
        self, training: Any, bar: Progress, X: Array, y: Array | None, weights: Array | None
    ) -> Iterator[tuple[Run, Interrupts]]:
        """Let the state be that of the training, until it is over for whatever reason."""
        run = Run(training, self.optimizer.lr)
        with Interrupts() as interrupts, bar:
            self._state, self._examples, self._run = training, len(X), run
            self._ledger.begin(self.step, self._mechanism(len(X), weights))
            try:
                yield run, interrupts
            except DivergenceError:
                del self.history[training.epoch :]  # the last step may have been in an epoch before
                raise
            finally:
                self._state, self._run = State.of(training), None  # lets go of the data

    def _finish_epoch(
        self,
        run: Run,
        training: Any,
        interrupts: Interrupts,
        bar: Progress,
        calls: Callbacks,
        *,
        chain: Chain | None = None,
        feed: Feed | None = None,
    ) -> tuple[int, float]:
        """Do the steps left in this epoch, or until the chain is complete or a callback says so.

        Returns how many examples the whole of it takes, and the seconds.
        """
        if feed is None:
            seen = min(training.batches * self.batch_size, self._examples)
            seen -= training.batch * self.batch_size
            seconds = self._do_steps(run, training, interrupts, bar, calls, training.batches, chain)
        else:
            seen, seconds, start = 0, 0.0, perf_counter()
            while (part := feed.part(interrupts)) is not None:
                run.rebind(part)
                seen += len(part.X) - (training.batch - part.first_batch) * feed.batch_size
                self._do_steps(run, training, interrupts, bar, calls, feed.batches)
                if not run.epoch_is_over:
                    break
            seconds = perf_counter() - start
        run.check_parameters()
        return max(seen, 0), seconds

    def _do_steps(
        self,
        run: Run,
        training: Any,
        interrupts: Interrupts,
        bar: Progress,
        calls: Callbacks,
        batches: int | None,
        chain: Chain | None = None,
    ) -> float:
        """Do the steps that the data at hand allow; return the seconds that they took."""
        seconds = 0.0
        while not run.epoch_is_over and not (chain and chain.is_complete):
            interrupts.deliver()
            if calls.look_between_steps:
                with interrupts.released():
                    if calls.between_steps(self):
                        break
            start = perf_counter()
            run.advance(chain.distance(training) if chain else training.batches)
            seconds += perf_counter() - start
            bar.advance(training.batch, batches)
            if chain:
                chain.visit(training)
        return seconds

    def _close_epoch(
        self,
        training: Any,
        seen: int,
        seconds: float,
        validation_loss: float | None = None,
        validation_metric: float | None = None,
        metrics: dict[str, float] | None = None,
    ) -> EpochRecord:
        """Write down how the epoch was, and go to the start of the next."""
        # An interrupted epoch may end with other weights, those it used all 0.
        loss = training.loss_sum / (training.weight_sum or nan)
        monitored = self._monitored(training)
        training.next_epoch()
        record = EpochRecord(
            training.epoch,
            training.step,
            loss,
            validation_loss,
            validation_metric,
            self.network.metric_name,
            seconds,
            seen / seconds if seconds else 0.0,
            **monitored,
            metrics=metrics,
        )
        self.history.append(record)
        return record

    def _monitored(self, training: Any) -> dict[str, Any]:
        """What the record of an epoch has beside the usual."""
        found: dict[str, Any] = {}
        if "noise_scale" in self.monitor:
            found["noise_scale"] = noise_scale(training.variance_sum, training.signal_sum)
        if "gradient_norms" in self.monitor:
            found["gradient_norms"] = five_numbers(training.example_norms)
        return found

    def _evaluate(self, theta: Array, X: Array, y: Array, names: list[str]) -> dict[str, Any]:
        """What the record of an epoch has of validation data: loss, metric, and those of names."""
        kernels = backends.load(self.network.backend)
        rows = max(1, EVALUATION // self.network.plan.products(X))
        losses, outputs = [], []
        for start in range(0, len(X), rows):
            part, plan = slice(start, start + rows), replace(self.network.plan, first_row=start)
            losses.append(kernels.losses(plan, theta, X[part], y[part]))
            outputs.append(kernels.outputs(plan, theta, X[part]))
        predicted = np.concatenate(outputs)
        return {
            "validation_loss": float(np.concatenate(losses).mean(dtype=np.float64)),
            "validation_metric": LOSSES[self.network.loss].metric(predicted, y),
            "metrics": metrics.evaluate(names, self.network.loss, predicted, y) if names else None,
        }


def _amount(examples: int) -> str:
    return f"{examples} examples" if examples else "a stream of batches"


def _check_clip(
    clip: PerExampleClip | None, noise: GaussianNoise | None, layers: int
) -> tuple[PerExampleClip | None, GaussianNoise | None]:
    if clip is not None:
        if not isinstance(clip, PerExampleClip):
            raise TypeError(
                f"clip must be a PerExampleClip, such as PerExampleClip(1.0), found {clip!r}"
            )
        clip.bounds(layers)  # are there as many?
    if noise is not None:
        if not isinstance(noise, GaussianNoise):
            raise TypeError(
                f"noise must be a GaussianNoise, such as GaussianNoise(1.1), found {noise!r}"
            )
        if clip is None:
            raise ValueError(
                "noise needs clip: gradients without a bound are not hidden by any amount of "
                "noise, give clip=PerExampleClip(...)"
            )
    return clip, noise


def _check_monitor(names: Iterable[str]) -> tuple[str, ...]:
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise TypeError(f"monitor must be a list of names, found {names!r}")
    return tuple(one_of("monitor", name, MONITORS) for name in names)


def _check_metrics(names: Iterable[str], network: Network, validation: Any) -> list[str]:
    names = metrics.check(names, network.loss, network.outputs)
    if names and validation is None:
        raise ValueError("metrics are those of validation data: give fit validation=(X, y)")
    return names
