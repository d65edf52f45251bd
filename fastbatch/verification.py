"""The numerical regression suite: every kernel against the reference, in units of its error bound.

`CASES` is the one table of networks, losses and sizes that the tests, ``fastbatch verify`` and
the benchmarks share; `CELLS` are the larger ones whose speed is measured. `checks` compares a
backend with the reference on all of them; `rounding` says how large a difference may be.

An error above 1 is a bug in a kernel or in the compiler that built it.
"""

import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from fastbatch.backends import DenseOp, DropoutOp, GaussianSampleOp, Plan, load, takes
from fastbatch.clipping import PerExampleClip
from fastbatch.layers import ACTIVATIONS
from fastbatch.losses import LOSSES
from fastbatch.optimizers import SGD, SGLD, Adagrad, Adam, AdamW, RMSprop
from fastbatch.rounding import Sweep
from fastbatch.samplers import sampling

DTYPES = ("float32", "float64")

SAMPLE, DROPOUT = "gaussian_sample", "dropout"  # where a case names the activation of a layer
RATE = 0.4  # of dropout

# Roundings granted to one step of an optimizer; a square root and a quotient are among them.
_UPDATE = 16


@dataclass(frozen=True)
class Case:
    """A network and a batch for it.

    Attributes
    ----------
    name : str
    widths : tuple of int
        Of the input, the hidden layers and the output.
    activations : tuple of str
        One for each layer; `SAMPLE` stands for a `GaussianSample`, `DROPOUT` for a `Dropout`.
    loss : str
    examples : int
    labels : bool
        Whether the targets of cross-entropy are labels rather than probabilities.
    batch_size : int, optional
        In training; None means all examples at once.
    """

    name: str
    widths: tuple[int, ...]
    activations: tuple[str, ...]
    loss: str
    examples: int
    labels: bool = True
    batch_size: int | None = None

    def plan(self, dtype: str) -> Plan:
        """The network in `dtype`.

        Examples
        --------
        >>> CELLS["digits"].plan("float32").size
        8970
        """
        layers = map(_operation, self.widths[:-1], self.widths[1:], self.activations)
        return Plan(tuple(layers), self.loss, dtype, dropping=True)

    def suits(self, backend: str) -> bool:
        """Whether the backend takes all of its layers.

        Examples
        --------
        >>> CELLS["digits"].suits("cuda")
        True
        """
        return all(takes(backend, layer) for layer in self.plan("float32").layers)

    def data(self, dtype: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Parameters, inputs, targets and weights, the same at every call.

        Returns
        -------
        theta : ndarray, shape (P,)
        X : ndarray, shape (N, inputs)
        y : ndarray, shape (N, K), or of int64 labels, shape (N,)
        weights : ndarray, shape (N,)
            Some are 0.

        Examples
        --------
        >>> theta, X, y, weights = CELLS["tiny"].data("float64")
        >>> theta.shape, X.shape, y.shape, weights.shape
        ((1377,), (2048, 8), (2048, 1), (2048,))
        """
        rng = np.random.default_rng(zlib.crc32(self.name.encode()))
        theta = [
            rng.standard_normal(layer.size) / np.sqrt(layer.inputs)
            for layer in self.plan(dtype).layers
        ]
        X = rng.standard_normal((self.examples, self.widths[0]))
        shape = self.examples, self.widths[-1]
        if self.loss == "cross_entropy" and self.labels:
            y = rng.integers(shape[1], size=shape[0])
        elif self.loss == "cross_entropy":
            y = rng.dirichlet(np.ones(shape[1]), size=shape[0]).astype(dtype)
        elif self.loss == "binary_cross_entropy":
            y = rng.integers(2, size=shape).astype(dtype)
        elif self.loss == "poisson":
            y = rng.poisson(2.0, size=shape).astype(dtype)
        else:
            y = rng.standard_normal(shape).astype(dtype)
        weights = rng.choice([0.0, 0.5, 1.0, 1.7], size=self.examples)
        return np.concatenate(theta).astype(dtype), X.astype(dtype), y, weights.astype(dtype)


def _operation(inputs: int, outputs: int, activation: str) -> Any:
    if activation == SAMPLE:
        return GaussianSampleOp(inputs, outputs)
    if activation == DROPOUT:
        return DropoutOp(inputs, RATE)
    return DenseOp(inputs, outputs, activation)


def _table() -> dict[str, Case]:
    """Every size with every loss; the activations take turns, so that each meets many sizes.

    Of the largest there is one case: with every loss it would take longer than all the others.
    """
    sizes = [
        ((1, 1), 1),
        ((1, 1, 1), 2),
        ((3, 15, 2), 5),
        ((17, 16, 1), 7),
        ((16, 17, 16, 15), 16),
        ((31, 33, 17), 33),
        ((64, 64, 64, 10), 32),
        ((5, 1, 48, 3), 17),
        ((47, 49, 1, 2), 31),
        ((8, 32, 32, 1), 65),
        ((130, 7, 33), 3),
        ((65, 63, 66, 64, 5), 20),
        ((4, 32, 16, 4), 1001),  # few parameters: the reduction over examples is in blocks
    ]
    losses = [*((loss, True) for loss in LOSSES), ("cross_entropy", False)]
    cases, turn = {}, 0
    for widths, examples in sizes:
        for loss, labels in losses:
            depth = len(widths) - 2
            activations = tuple(ACTIVATIONS[(turn + i) % len(ACTIVATIONS)] for i in range(depth))
            turn += depth or 1
            last = "identity"
            if depth == 0 and loss == "squared_error":
                last = "sigmoid"  # an activation before the loss is rare, but allowed
            shape = "-".join(map(str, widths))
            kind = loss if labels else f"{loss} of probabilities"
            name = f"{shape} {kind} x{examples}"
            cases[name] = Case(name, widths, (*activations, last), loss, examples, labels)
    name = "500-260-10 cross_entropy x700"  # many parameters: in one go
    cases[name] = Case(name, (500, 260, 10), ("gelu", "identity"), "cross_entropy", 700)
    for widths, activations, loss, examples in (
        ((3, 2, 1, 3), ("identity", SAMPLE, "identity"), "squared_error", 1),
        ((5, 20, 18, 9, 7), ("tanh", "identity", SAMPLE, "sigmoid"), "binary_cross_entropy", 33),
        ((12, 66, 33, 30, 12), ("relu", SAMPLE, "silu", "identity"), "squared_error", 40),
        ((9, 130, 65, 9), ("elu", SAMPLE, "identity"), "poisson", 17),  # wider than a panel
        ((4, 34, 17, 3), ("identity", SAMPLE, "identity"), "cross_entropy", 300),  # in blocks
        ((6, 28, 14, 7), ("gelu", SAMPLE, SAMPLE), "cross_entropy", 21),
    ):
        name = f"{'-'.join(map(str, widths))} sample {loss} x{examples}"
        cases[name] = Case(name, widths, activations, loss, examples)
    for widths, activations, loss, examples in (
        ((33, 33, 2), (DROPOUT, "identity"), "huber", 7),
        ((5, 66, 66, 7, 7, 3), ("tanh", DROPOUT, "relu", DROPOUT, "identity"), "cross_entropy", 30),
        (
            (9, 9, 40, 40, 20, 20, 9),
            (DROPOUT, "elu", DROPOUT, SAMPLE, DROPOUT, "identity"),
            *("squared_error", 17),
        ),
        ((4, 20, 20, 3), ("silu", DROPOUT, "identity"), "poisson", 300),  # in blocks
    ):
        name = f"{'-'.join(map(str, widths))} dropout {loss} x{examples}"
        cases[name] = Case(name, widths, activations, loss, examples)
    return cases


def _cells() -> dict[str, Case]:
    """The cells of the speed tables: some epochs of data, float32, ReLU unless said."""
    rows = [
        ("tiny", (8, 32, 32, 1), "relu", "squared_error", 2048, 32),
        ("digits", (64, 64, 64, 10), "relu", "cross_entropy", 1792, 32),
        ("mnist", (784, 256, 128, 10), "relu", "cross_entropy", 12800, 128),
        ("wide", (784, 1024, 1024, 10), "relu", "cross_entropy", 8192, 512),
        ("chains", (4, 32, 16, 4), "tanh", "squared_error", 20000, 10000),
    ]
    return {
        name: Case(
            name,
            widths,
            (activation,) * (len(widths) - 2) + ("identity",),
            loss,
            examples,
            batch_size=batch_size,
        )
        for name, widths, activation, loss, examples, batch_size in rows
    }


CASES = _table()
CELLS = _cells()

OPTIMIZERS: dict[str, Any] = {
    "sgd": SGD(0.1),
    "sgd, decay": SGD(0.1, weight_decay=0.01),
    "sgd, momentum": SGD(0.1, momentum=0.9),
    "sgd, nesterov": SGD(0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
    "adam": Adam(0.01),
    "adam, decay": Adam(0.01, weight_decay=0.01),
    "adamw": AdamW(0.01),
    "rmsprop": RMSprop(0.01),
    "rmsprop, momentum": RMSprop(0.01, momentum=0.9, weight_decay=0.01),
    "rmsprop, centered": RMSprop(0.01, centered=True),
    "rmsprop, both": RMSprop(0.01, momentum=0.9, centered=True),
    "adagrad": Adagrad(0.01),
    "adagrad, decay": Adagrad(0.01, lr_decay=0.1, weight_decay=0.01),
    "sgld": SGLD(0.01, prior_precision=0.1),
}


@dataclass(frozen=True)
class Check:
    """One comparison: the worst error of `kernel` in `case`, in units of its bound."""

    kernel: str
    dtype: str
    case: str
    error: float


def checks(backend: str = "cpu") -> Iterator[Check]:
    """Compare a backend with the reference, kernel by kernel and case by case.

    Cases with layers that the backend does not take are left out.

    Parameters
    ----------
    backend : str

    Yields
    ------
    Check

    Examples
    --------
    >>> first = next(checks("reference"))
    >>> first.kernel, first.error
    ('uniform', 0.0)
    """
    kernels = load(backend)
    yield from random_errors(kernels)
    cases = [case for case in CASES.values() if case.suits(backend)]
    for dtype in DTYPES:
        for case in cases:
            for kernel, error in case_errors(kernels, case, dtype):
                yield Check(kernel, dtype, case.name, error)
        for name, error in training_errors(kernels, dtype):
            yield Check("training", dtype, name, error)
        for name, optimizer in OPTIMIZERS.items():
            for step in (0, 1000):
                error = optimizer_error(kernels, optimizer, step, dtype)
                yield Check(f"optimizer {optimizer.name}", dtype, f"{name}, step {step}", error)


def error_in_bounds(computed: Any, truth: Any, bound: Any) -> float:
    """The largest of ``|computed - truth| / bound``; 0 where they are equal, inf for a NaN.

    Examples
    --------
    >>> error_in_bounds([1.0, 2.5], [1.0, 2.0], [0.0, 1.0])
    0.5
    """
    computed, truth, bound = (np.asarray(x, dtype=np.float64) for x in (computed, truth, bound))
    if computed.shape != truth.shape:
        return np.inf
    difference = abs(computed - truth)
    different = ~(difference == 0)
    if not different.any():
        return 0.0
    with np.errstate(divide="ignore"):
        ratios = difference[different] / np.broadcast_to(bound, truth.shape)[different]
    return float(np.where(np.isnan(ratios), np.inf, ratios).max())


def case_errors(kernels: ModuleType, case: Case, dtype: str) -> Iterator[tuple[str, float]]:
    """The errors of the functions of a batch, each with the kernel's name.

    Examples
    --------
    >>> case = CASES["3-15-2 huber x5"]
    >>> all(error < 1 for _, error in case_errors(load("reference"), case, "float32"))
    True
    """
    plan = case.plan(dtype)
    theta, X, y, weights = case.data(dtype)
    sweep = Sweep(plan, theta, X, y)
    yield "outputs", error_in_bounds(kernels.outputs(plan, theta, X), *sweep.outputs())
    yield "losses", error_in_bounds(kernels.losses(plan, theta, X, y), *sweep.losses())
    for w, scale in ((None, 1.0), (weights, 1.0 / case.examples)):
        value, gradient = kernels.value_and_gradient(plan, theta, X, y, w, scale)
        yield "value", error_in_bounds(value, *sweep.value(w, scale))
        yield "gradient", error_in_bounds(gradient, *sweep.gradient(w, scale))
    yield from _per_example_errors(kernels, plan, (theta, X, y, weights), sweep)


def _per_example_errors(
    kernels: ModuleType, plan: Plan, data: tuple[np.ndarray, ...], sweep: Sweep
) -> Iterator[tuple[str, float]]:
    """The errors of all that is said about each example's gradient, and of the gradients."""
    theta, X, y, weights = data
    scale = 1.0 / len(X)
    for per_layer in (False, True):
        norms = kernels.gradient_norms(plan, theta, X, y, per_layer)
        yield "gradient_norms", error_in_bounds(norms, *sweep.gradient_norms(per_layer))

    half = float(np.median(sweep.gradient_norms()[0])) or 1.0  # half of the gradients are longer
    for clip in (
        PerExampleClip(half),
        PerExampleClip(half, per_layer=True),
        PerExampleClip(half, automatic=True, gamma=half),
    ):
        gradient, norms = kernels.clipped_gradient(plan, theta, X, y, weights, scale, clip)
        true_gradient, true_norms = sweep.clipped_gradient(weights, scale, clip)
        yield "clipped_gradient", error_in_bounds(gradient, *true_gradient)
        yield "clipped_gradient", error_in_bounds(norms, *true_norms)

    moments = kernels.second_moments(plan, theta, X, y, weights, scale)
    yield "second_moments", error_in_bounds(moments, *sweep.second_moments(weights, scale))
    direction = theta[::-1].copy()
    products = kernels.inner_products(plan, theta, X, y, direction)
    yield "inner_products", error_in_bounds(products, *sweep.inner_products(direction))

    # Results that are large: some examples stand for all.
    some, others = (X[:40], y[:40]), (X[-30:], y[-30:])
    some_sweep, other_sweep = (Sweep(plan, theta, *examples) for examples in (some, others))
    each = kernels.per_example_gradients(plan, theta, *some)
    yield "per_example_gradients", error_in_bounds(each, *some_sweep.per_example_gradients())
    gram = kernels.gradient_gram(plan, theta, X, y, *others)
    yield "gradient_gram", error_in_bounds(gram, *sweep.gradient_gram(other_sweep))
    gram = kernels.gradient_gram(plan, theta, *some, *some)
    yield "gradient_gram", error_in_bounds(gram, *some_sweep.gradient_gram(some_sweep))

    # And larger by the number of outputs, or by its square; where one is too large, none.
    few = slice(0, min(40, (1 << 21) // (plan.outputs * plan.size)))
    jacobian = kernels.output_jacobian(plan, theta, X[few])
    truth = Sweep(plan, theta, X[few], y[few]).output_jacobian()
    yield "output_jacobian", error_in_bounds(jacobian, *truth)
    count = min(40, 1 + 300 // plan.outputs)
    some, others = (X[:count], y[:count]), (X[-count:], y[-count:])
    some_sweep, other_sweep = (Sweep(plan, theta, *examples) for examples in (some, others))
    kernel = kernels.tangent_kernel(plan, theta, some[0], others[0])
    yield "tangent_kernel", error_in_bounds(kernel, *some_sweep.tangent_kernel(other_sweep))


def random_errors(kernels: ModuleType) -> Iterator[Check]:
    """Random numbers have no bound: they are equal or wrong.

    Examples
    --------
    >>> sum(check.error for check in random_errors(load("reference")))
    0.0
    """
    reference = load("reference")
    draws: list[tuple[str, Callable[..., np.ndarray]]] = [
        (name, getattr(kernels, name)) for name in ("uniform", "permutation")
    ]
    for name, draw in draws:
        for count in (1, 2, 17, 1000):
            for seed in (0, 2**32 + 5, 2**64 - 1):
                for stream in (0, 2**32 - 1):
                    truth = getattr(reference, name)(count, seed, stream)
                    error = error_in_bounds(draw(count, seed, stream), truth, 0.0)
                    case = f"count {count}, seed {seed}, stream {stream}"
                    yield Check(name, truth.dtype.name, case, error)


def _integers(outputs: int, dtype: str) -> tuple[Plan, np.ndarray, np.ndarray, np.ndarray]:
    """A linear network and data of small integers: sums of their products are exact in float32."""
    plan = Plan((DenseOp(17, outputs, "identity"),), "squared_error", dtype)
    rng = np.random.default_rng(outputs)
    theta = rng.integers(-2, 3, size=plan.size)
    X = rng.integers(-1, 2, size=(6, 17)) * (rng.random((6, 17)) < 0.2)
    y = rng.integers(-3, 4, size=(6, outputs))
    return plan, theta.astype(dtype), X.astype(dtype), y.astype(dtype)


def training_errors(kernels: ModuleType, dtype: str) -> Iterator[tuple[str, float]]:
    """Training without any rounding: which rows, which weights, which scale, clipped by how much.

    Every number is a small multiple of a power of two, in partial batches too, so kernels and
    reference must agree to the last bit. Only noise is rounded.

    Examples
    --------
    >>> dict(training_errors(load("reference"), "float32"))
    {'shuffle': 0.0, 'sequential': 0.0, 'replacement': 0.0, 'poisson': 0.0, 'weighted': 0.0,
     'sum': 0.0, 'l2': 0.0, 'clip': 0.0, 'clip per layer': 0.0, 'noise': 0.0, 'langevin': 0.0}
    """
    thin = [1, 0, 2, 1, 0, 2]  # the first batch of four weighs 4, the second of two weighs 2
    full = [2, 0, 2, 1, 1, 2]  # 8 in all
    for name, train in {
        "shuffle": partial(_two_epochs, sampler="shuffle"),
        "sequential": partial(_two_epochs, sampler="sequential", weights=thin),
        "replacement": partial(_two_epochs, sampler="replacement"),
        "poisson": partial(_two_epochs, sampler="poisson", weights=thin),
        "weighted": partial(_two_epochs, sampler=lambda *_: [1, 2, 1, 2, 1, 1], weights=full),
        "sum": partial(_two_epochs, sampler="shuffle", weights=thin, reduction="sum"),
        "l2": partial(_two_epochs, sampler="sequential", weights=thin, l2=2.0),
        "clip": partial(_clipped_step, clip=PerExampleClip(8.0), weights=full),
        "clip per layer": partial(
            _clipped_step, clip=PerExampleClip([8.0], per_layer=True), weights=full
        ),
    }.items():
        truth = train(load("reference"), dtype)
        yield name, error_in_bounds(train(kernels, dtype), truth, 0.0)

    # What noise adds to theta is at most nine standard deviations.
    for name, step, deviation in (
        ("noise", partial(_noisy_step, SGD(), (64.0, 2**63 + 1)), 64 / 6 * 0.25),
        ("langevin", partial(_noisy_step, SGLD(temperature=64.0), (None, 2**63 + 1)), 4.0),
    ):
        truth = step(load("reference"), dtype)
        bound = 4 * np.finfo(dtype).eps * (abs(truth) + 9 * deviation)
        yield name, error_in_bounds(step(kernels, dtype), truth, bound)


def _two_epochs(
    kernels: ModuleType,
    dtype: str,
    sampler: Any,
    weights: list[int] | None = None,
    reduction: str = "mean",
    l2: float = 0.0,
) -> np.ndarray:
    """Parameters and sums after two epochs in batches of four."""
    plan, theta, X, y = _integers(33, dtype)
    w = None if weights is None else np.array(weights, dtype)
    options = sampling(sampler, kernels, X, w, batch_size=4, seed=1, reduction=reduction)
    training = kernels.Training(plan, SGD(), X, y, w, **options, l2=l2)
    training.theta = theta
    for _ in range(2):
        training.advance(np.full(training.batches, 0.25))
        sums = training.loss_sum, training.weight_sum
        training.next_epoch()
    return np.append(training.theta, sums)


def _clipped_step(
    kernels: ModuleType, dtype: str, clip: PerExampleClip, weights: list[int]
) -> np.ndarray:
    """Parameters, and all that can be monitored, after a step that halves norms or leaves them."""
    plan, theta, X, y = _gradients_of_known_norm(2.0 ** np.arange(1, 7), dtype)
    training = kernels.Training(
        plan,
        SGD(),
        X,
        y,
        np.array(weights, dtype),
        batch_size=6,
        clip=clip,
        monitor=("losses", "gradient_norms", "noise_scale"),
    )
    training.theta = theta
    training.advance(np.array([0.25]))
    known = np.nan_to_num([training.example_losses, training.example_norms])
    sums = training.loss_sum, training.variance_sum, training.signal_sum
    return np.concatenate([training.theta, *known, sums])


def _noisy_step(
    optimizer: Any, noise: tuple[float | None, int], kernels: ModuleType, dtype: str
) -> np.ndarray:
    """Parameters after a step with noise."""
    plan, theta, X, y = _integers(33, dtype)
    training = kernels.Training(plan, optimizer, X, y, None, batch_size=6, noise=noise)
    training.theta, training.step = theta, 2**32 - 1
    training.advance(np.array([0.25]))
    return np.asarray(training.theta)


def _gradients_of_known_norm(
    norms: np.ndarray, dtype: str
) -> tuple[Plan, np.ndarray, np.ndarray, np.ndarray]:
    """A linear network, and examples whose gradients have these norms."""
    plan, theta, _, _ = _integers(33, dtype)
    X = np.eye(len(norms), 17) + np.eye(len(norms), 17, 6) - np.eye(len(norms), 17, 11)
    # The norm of an input with its 1 for the bias is 2, so those of the deltas are half of norms.
    delta = norms[:, None] / 2 * np.eye(len(norms), 33, 3)
    y = load("reference").outputs(plan, theta, X.astype(dtype)) - delta / 2
    return plan, theta, X.astype(dtype), y.astype(dtype)


def optimizer_error(kernels: ModuleType, optimizer: Any, step: int, dtype: str) -> float:
    """The error of one update, of theta and of the slots.

    The gradient is one of small integers, which has no error of its own. The slots are drawn so
    that nothing cancels but, perhaps, the gradient and the weight decay.

    Examples
    --------
    >>> optimizer_error(load("reference"), Adam(0.01), 0, "float32") < 1
    True
    """
    plan, theta, X, y = _integers(17, dtype)
    X, y = X[:4], y[:4]
    truth = load("reference")
    exact = Plan(plan.layers, plan.loss, "float64")
    _, g = truth.value_and_gradient(exact, *(x.astype(float) for x in (theta, X, y)), None, 0.25)
    is_sgld = optimizer.name == "sgld"  # without noise, which has a check of its own
    weight_decay = optimizer.prior_precision if is_sgld else optimizer.weight_decay
    decay = 0.0 if optimizer.name == "adamw" else weight_decay
    direction = g + decay * theta
    size = abs(direction)
    cancellation = (abs(g) + abs(decay * theta)) / np.where(size == 0, 1, size)
    cancellation = np.maximum(cancellation, 1)

    signed = {  # of each slot: whether it has the sign of the gradient, or is a mean of squares
        "sgd": [True],
        "adam": [True, False],
        "adamw": [True, False],
        "rmsprop": [False, True, True],
        "adagrad": [False],
        "sgld": [],
    }[optimizer.name][: optimizer.slots]
    rng = np.random.default_rng(step)
    slots = np.empty((optimizer.slots, plan.size), dtype)
    for slot, sign in zip(slots, signed, strict=True):
        if sign:
            slot[:] = np.sign(direction) * rng.uniform(0.1, 0.5, plan.size)
        else:
            slot[:] = rng.uniform(1, 2, plan.size) * (1 + g**2)

    results = []
    for module, training_plan in ((kernels, plan), (truth, exact)):
        kind = training_plan.dtype
        training = module.Training(
            training_plan, optimizer, X.astype(kind), y.astype(kind), None, batch_size=4
        )
        training.theta, training.slots, training.step = theta.astype(kind), slots.astype(kind), step
        training.advance(np.array([optimizer.lr]))
        results.append((training.theta, training.slots))
    (new_theta, new_slots), (true_theta, true_slots) = results

    u = (np.finfo(dtype).eps + np.finfo(float).eps) / 2
    change = abs(true_theta - theta) + 2 * optimizer.lr * abs(weight_decay * theta)
    theta_bound = u * (3 * abs(theta) + _UPDATE * cancellation * change)
    return max(
        error_in_bounds(new_theta, true_theta, theta_bound),
        error_in_bounds(new_slots, true_slots, _UPDATE * u * cancellation * abs(true_slots)),
    )
