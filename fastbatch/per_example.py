"""What a network tells about the gradient of each example, with no matrix of gradients made."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import arrays, backends
from fastbatch.backends import Plan
from fastbatch.clipping import PerExampleClip
from fastbatch.constraints import flag, integer, real
from fastbatch.gradient_statistics import GradientStatistics, gradient_statistics

Array = NDArray[Any]

# Numbers in a block of gradients that is made in one go: 16 MiB in float32.
BLOCK = 1 << 22


class PerExampleQuantities(ABC):
    """The methods of `Network` that treat each example's gradient as a quantity of its own."""

    dtype: str
    backend: str

    @property
    @abstractmethod
    def plan(self) -> Plan:
        """The network as the backends see it."""

    @abstractmethod
    def check_examples(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        names: tuple[str, str] = ("X", "y"),
        check_finite: bool = True,
    ) -> tuple[Array, Array]:
        """Check examples and targets and convert them to what this network computes with."""

    @abstractmethod
    def _parameters(self, theta: ArrayLike) -> Array:
        """`theta` as kernels want it."""

    @abstractmethod
    def _like(self, theta: ArrayLike, gradient: Array) -> Array:
        """`gradient` in the dtype of `theta` if the user's arithmetic may go on in that."""

    def gradient_norms(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        *,
        per_layer: bool = False,
        check_finite: bool = True,
    ) -> Array:
        """Compute the Euclidean norm of the gradient of each example's loss.

        From what enters each layer and the derivatives by what leaves it: Goodfellow 2015,
        "Efficient per-example gradient computations".

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        y : array_like, shape (N, K) or (N,)
        per_layer : bool
            Whether to give the norm of each layer's part.
        check_finite : bool

        Returns
        -------
        ndarray, shape (N,), or (N, layers) if `per_layer`
            Of the layers that have parameters.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> net.gradient_norms([4, 1], [[0], [0.75]], [1, 0])  # of (0, 0) and (6, 8)
        array([ 0., 10.], dtype=float32)
        """
        flag("per_layer", per_layer)
        X, y = self.check_examples(X, y, check_finite=check_finite)
        kernels = backends.load(self.backend)
        return kernels.gradient_norms(self.plan, self._parameters(theta), X, y, per_layer)

    def clipped_gradient(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        max_norm: float | Sequence[float],
        scale: float | None = None,
        *,
        sample_weight: ArrayLike | None = None,
        per_layer: bool = False,
        automatic: bool = False,
        gamma: float = 0.01,
        check_finite: bool = True,
    ) -> tuple[Array, Array]:
        """Compute ``scale * sum_i w_i clip(g_i)``, and the norm of each gradient g_i.

        In one backward pass: Lee & Kifer 2021, "Scaling up differentially private deep learning
        with fast per-example gradient clipping"; Li et al. 2022, "Large language models can be
        strong differentially private learners" (ghost clipping).

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        max_norm, per_layer, automatic, gamma
            What clipping is, as for `PerExampleClip`.
        scale : float, optional
            ``1 / sum_i w_i`` if not given; N may be 0 if it is. For differential privacy give ``1 /
            expected_batch_size``.
        sample_weight : array_like, shape (N,), optional
            The weights ``w_i``, 1 if not given.
        check_finite : bool

        Returns
        -------
        gradient : ndarray, shape (P,)
            In the dtype of theta if that is float32 or float64, else in the network's.
        norms : ndarray, shape (N,), or (N, layers) if `per_layer`
            Before clipping; 0 for an example of weight 0.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range, or there is no example to average.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> net.clipped_gradient([4, 1], [[0], [0.75]], [1, 0], 5.0, 1.0)  # of (0, 0) and (6, 8)
        (array([3., 4.], dtype=float32), array([ 0., 10.], dtype=float32))
        """
        clip = PerExampleClip(max_norm, per_layer, automatic, gamma)
        clip.bounds(len(self.plan.parametric))  # refuses a wrong number of them
        X, y = self.check_examples(X, y, check_finite=check_finite)
        weights = arrays.sample_weights(sample_weight, len(X), self.dtype)
        if scale is None:
            arrays.not_empty(X)
            scale = 1.0 / float(len(X) if weights is None else weights.sum(dtype=np.float64))
        gradient, norms = backends.load(self.backend).clipped_gradient(
            self.plan, self._parameters(theta), X, y, weights, real("scale", scale, -np.inf), clip
        )
        return self._like(theta, gradient), norms

    def gradient_statistics(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        check_finite: bool = True,
    ) -> GradientStatistics:
        """Compute how much the gradients of the examples agree.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
        y : array_like, shape (N, K) or (N,)
        sample_weight : array_like, shape (N,), optional
        check_finite : bool

        Returns
        -------
        GradientStatistics
            Mean and variance of each element of the gradient (in the dtype of theta if that is
            float32 or float64, else in the network's), norms, angles and the gradient noise scale.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range, or there is no example.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> statistics = net.gradient_statistics([2, 1], [[0], [0], [0]], [1, -1, 0])
        >>> statistics.norms, statistics.cosines  # of (0, 0), (0, 4) and (0, 2)
        (array([0., 4., 2.], dtype=float32), array([0., 1., 1.], dtype=float32))
        """
        X, y = self.check_examples(X, y, check_finite=check_finite)
        arrays.not_empty(X)
        weights = arrays.sample_weights(sample_weight, len(X), self.dtype)
        found = gradient_statistics(
            backends.load(self.backend), self.plan, self._parameters(theta), X, y, weights
        )
        mean, variance = self._like(theta, found.mean), self._like(theta, found.variance)
        return replace(found, mean=mean, variance=variance)

    def directional_derivatives(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        direction: ArrayLike,
        *,
        check_finite: bool = True,
    ) -> Array:
        """Compute the inner product of each example's gradient with a direction.

        A small step ``theta + t * direction`` changes each loss by t times that.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        y : array_like, shape (N, K) or (N,)
        direction : array_like, shape (P,)
        check_finite : bool

        Returns
        -------
        ndarray, shape (N,)

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> net.directional_derivatives([4, 1], [[0], [0.75]], [1, 0], [2, 1])
        array([ 0., 20.], dtype=float32)
        """
        X, y = self.check_examples(X, y, check_finite=check_finite)
        along = arrays.numeric("direction", direction)
        if along.shape != (self.plan.size,):
            raise ValueError(
                f"direction must have shape ({self.plan.size},), one entry for each parameter of "
                f"the network, found {along.shape}"
            )
        kernels, along = backends.load(self.backend), arrays.native(along, self.dtype)
        return kernels.inner_products(self.plan, self._parameters(theta), X, y, along)

    def gradient_gram(
        self,
        theta: ArrayLike,
        Xa: ArrayLike,
        ya: ArrayLike,
        Xb: ArrayLike | None = None,
        yb: ArrayLike | None = None,
        *,
        check_finite: bool = True,
    ) -> Array:
        """Compute the inner product of each example's gradient with each of another set.

        A small step of gradient descent on example j changes the loss of example i by ``-lr`` times
        entry (i, j).

        Parameters
        ----------
        theta : array_like, shape (P,)
        Xa : array_like, shape (Na, inputs)
            Na may be 0.
        ya : array_like, shape (Na, K) or (Na,)
        Xb, yb : array_like, optional
            The other set, of Nb examples; the same one again if not given.
        check_finite : bool

        Returns
        -------
        ndarray, shape (Na, Nb)

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range, or only one of Xb and yb is given.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> net.gradient_gram([2, 1], [[1], [2]], [2, 6])  # of (2, 2) and (-4, -2)
        array([[  8., -12.],
               [-12.,  20.]], dtype=float32)
        """
        if (Xb is None) != (yb is None):
            missing, given = ("Xb", "yb") if Xb is None else ("yb", "Xb")
            raise TypeError(f"{missing} is missing, found only {given}: give both or none")
        first = self.check_examples(Xa, ya, names=("Xa", "ya"), check_finite=check_finite)
        second = first
        if Xb is not None and yb is not None:
            second = self.check_examples(Xb, yb, names=("Xb", "yb"), check_finite=check_finite)
        kernels = backends.load(self.backend)
        return kernels.gradient_gram(self.plan, self._parameters(theta), *first, *second)

    def tangent_kernel(
        self,
        theta: ArrayLike,
        Xa: ArrayLike,
        Xb: ArrayLike | None = None,
        *,
        check_finite: bool = True,
    ) -> Array:
        """Compute the empirical neural tangent kernel.

        The inner products of the gradients of outputs, ``J(Xa) J(Xb)^T`` with the rows of
        `output_jacobian`: Jacot et al. 2018, "Neural tangent kernel".

        Parameters
        ----------
        theta : array_like, shape (P,)
        Xa : array_like, shape (Na, inputs)
            Na may be 0.
        Xb : array_like, shape (Nb, inputs), optional
            Xa again if not given.
        check_finite : bool

        Returns
        -------
        ndarray, shape (Na, Nb, K, K)
            Entry (i, j, k, l) is of output k of ``Xa[i]`` and output l of ``Xb[j]``.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(2)], inputs=1, loss="squared_error", backend="reference")
        >>> net.tangent_kernel(np.zeros(4), [[3]], [[2]])
        array([[[[7., 0.],
                 [0., 7.]]]], dtype=float32)
        """
        first = self._inputs("Xa", Xa, check_finite)
        second = first if Xb is None else self._inputs("Xb", Xb, check_finite)
        kernels = backends.load(self.backend)
        return kernels.tangent_kernel(self.plan, self._parameters(theta), first, second)

    def output_jacobian(
        self, theta: ArrayLike, X: ArrayLike, *, check_finite: bool = True
    ) -> Array:
        """Compute the gradient of each output of each example.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        check_finite : bool

        Returns
        -------
        ndarray, shape (N, K, P)

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(2)], inputs=1, loss="squared_error", backend="reference")
        >>> net.output_jacobian(np.zeros(4), [[3]])
        array([[[3., 0., 1., 0.],
                [0., 3., 0., 1.]]], dtype=float32)
        """
        X, kernels = self._inputs("X", X, check_finite), backends.load(self.backend)
        return kernels.output_jacobian(self.plan, self._parameters(theta), X)

    def per_example_gradients(
        self, theta: ArrayLike, X: ArrayLike, y: ArrayLike, *, check_finite: bool = True
    ) -> Array:
        """Compute the gradient of each example's loss.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        y : array_like, shape (N, K) or (N,)
        check_finite : bool

        Returns
        -------
        ndarray, shape (N, P)
            That many numbers: the methods that need less memory are to be preferred.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> net.per_example_gradients([2, 1], [[1], [2]], [3, 2])
        array([[ 0.,  0.],
               [12.,  6.]], dtype=float32)
        """
        X, y = self.check_examples(X, y, check_finite=check_finite)
        kernels = backends.load(self.backend)
        return kernels.per_example_gradients(self.plan, self._parameters(theta), X, y)

    def iterate_per_example_gradients(
        self,
        theta: ArrayLike,
        X: ArrayLike,
        y: ArrayLike,
        rows: int | None = None,
        *,
        check_finite: bool = True,
    ) -> Iterator[tuple[slice, Array]]:
        """Compute the gradients block by block, in memory that does not grow with N.

        Parameters
        ----------
        theta : array_like, shape (P,)
        X : array_like, shape (N, inputs)
            N may be 0.
        y : array_like, shape (N, K) or (N,)
        rows : int, optional
            Examples in a block, but perhaps the last; by default as many as have some four million
            numbers.
        check_finite : bool

        Yields
        ------
        which : slice
            The examples of the block.
        block : ndarray, shape (n, P)
            Their gradients. The next block overwrites them: copy what is to be kept.

        Raises
        ------
        ValueError, TypeError
            If an argument has the wrong shape, kind or range; at once, not with the first block.

        Examples
        --------
        >>> from fastbatch import Dense, Network
        >>> net = Network([Dense(1)], inputs=1, loss="squared_error", backend="reference")
        >>> for which, block in net.iterate_per_example_gradients([2, 1], [[1], [2]], [3, 2], 1):
        ...     print(which, block)
        slice(0, 1, None) [[0. 0.]]
        slice(1, 2, None) [[12.  6.]]
        """
        X, y = self.check_examples(X, y, check_finite=check_finite)
        rows = max(1, BLOCK // self.plan.size) if rows is None else integer("rows", rows, 1)
        return self._blocks(self._parameters(theta), X, y, min(rows, len(X)))

    def _blocks(self, theta: Array, X: Array, y: Array, rows: int) -> Iterator[tuple[slice, Array]]:
        kernels = backends.load(self.backend)
        block = np.empty((rows, self.plan.size), self.dtype)
        for start in range(0, len(X), rows or 1):
            which = slice(start, min(start + rows, len(X)))
            plan, out = replace(self.plan, first_row=start), block[: which.stop - start]
            kernels.per_example_gradients(plan, theta, X[which], y[which], out=out)
            yield which, out

    def _inputs(self, name: str, X: ArrayLike, check_finite: bool) -> Array:
        """Examples without targets as kernels want them."""
        size, kind = self.plan.inputs, self.dtype
        return arrays.matrix(name, X, size, kind, finite=check_finite, backend=self.backend)
