"""What a user makes of a network, an optimizer and options, and trains."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from fastbatch import samplers
from fastbatch.callbacks import Callback, Callbacks
from fastbatch.clipping import PerExampleClip
from fastbatch.constraints import integer, one_of, real
from fastbatch.history import EpochRecord
from fastbatch.network import SEEDS, Network
from fastbatch.optimizers import Adam, Optimizer, as_optimizer
from fastbatch.posterior import Chain, PosteriorSamples
from fastbatch.privacy import GaussianNoise, Ledger
from fastbatch.progress import Progress
from fastbatch.samplers import Sampler
from fastbatch.state import State
from fastbatch.trainer.beginning import Beginning
from fastbatch.trainer.epochs import running
from fastbatch.trainer.saving import Saving
from fastbatch.trainer.validation import check_validation

MONITORS = ("losses", "gradient_norms", "noise_scale")


class Trainer(Beginning, Saving):
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
        self.history, self.extra = [], {}
        self.samples: PosteriorSamples | None = None
        theta = network.init(self.seed) if theta is None else self._own(theta)
        slots = np.zeros((self.optimizer.slots, network.n_parameters), network.dtype)
        self._state, self._examples = State(theta, slots), 0
        self._ledger, self._run = Ledger(), None

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
        judged = check_validation(self.network, validation, metrics, check_finite)
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
        calls.before_steps(self)
        training = self._training(*data, batch_size=feed.batch_size if feed else None)

        first = len(self.history)
        with running(self, training, data, bar, calls, feed=feed) as under_way:
            for _ in range(epochs):
                if not under_way.finish() or under_way.close(judged):
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
        and `sample` go on. With other optimizers the mean of the samples averages the iterates
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
        with running(self, training, data, bar, Callbacks(()), chain=chain) as under_way:
            try:
                while not chain.is_complete:
                    if under_way.finish():
                        under_way.close()
            finally:
                self.samples = chain.samples(until=training.step)
        return self.samples


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
