"""The solver `lbfgs`: SciPy's, over all examples at once."""

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import OptimizeResult, minimize
from sklearn.exceptions import ConvergenceWarning

from fastbatch.sklearn.objective import Data, Objective

Array = NDArray[Any]

# SciPy stops where an iteration gains less than this share of the loss, or less than arithmetic
# can tell: in float32 it would report a failed line search instead.
_LEAST_GAIN = 2.2e-9


def minimise(estimator: Any, objective: Objective, theta: Array, data: Data) -> Array:
    """Begin at theta and return where it ends; the estimator gets `loss_` and `n_iter_`.

    Raises
    ------
    FloatingPointError
        If numbers are not finite there.
    """
    objective.network.check_examples(data.X, data.y)  # once, for all evaluations
    done = 0

    def show(intermediate_result: OptimizeResult) -> None:
        nonlocal done
        done += 1
        if estimator.verbose:
            print(f"Iteration {done}, loss = {intermediate_result.fun:.8f}")

    found = minimize(
        objective.value_and_grad,
        theta.astype(np.float64),
        args=(data,),
        jac=True,
        method="L-BFGS-B",
        callback=show,
        options={
            "maxfun": estimator.max_fun,
            "maxiter": estimator.max_iter,
            "gtol": estimator.tol,
            "ftol": max(_LEAST_GAIN, float(np.finfo(theta.dtype).eps)),
        },
    )
    if not (np.isfinite(found.fun) and np.isfinite(found.x).all()):
        raise FloatingPointError(f"lbfgs ended at a loss of {found.fun}")
    penalty = objective.penalty(found.x) / data.total
    loss = objective.reported((found.fun - penalty) / objective.factor) + objective.offset(data)
    estimator.loss_ = loss + penalty
    estimator.n_iter_ = min(int(found.nit), estimator.max_iter)
    if found.status != 0:
        cure = "increase max_iter or max_fun" if found.status == 1 else "scale the data"
        warnings.warn(
            f"lbfgs failed to converge after {estimator.n_iter_} iteration(s) "
            f"(status={found.status}): {found.message}. You might {cure}.",
            ConvergenceWarning,
            stacklevel=5,
        )
    return found.x.astype(theta.dtype)
