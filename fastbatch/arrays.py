"""Checks at the door: what comes out is what kernels take, or one sentence says why not.

An array that is already native, C-contiguous and of the network's dtype is used in place, never
copied or written to; anything else is converted once. Sparse examples stay sparse, and those that
lie on a CUDA device stay there.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fastbatch import backends, sparse
from fastbatch.losses import Loss

Array = NDArray[Any]

# Elements looked at in one go: the temporary stays in the cache, 13 GB/s on one core.
BLOCK = 1 << 16

# Of sample weights, however many of them are summed.
LARGEST_WEIGHT = 1e289


def numeric(name: str, values: ArrayLike) -> Array:
    """Return `values` as an array of real numbers, in place if it is one."""
    if hasattr(values, "toarray"):
        raise TypeError(
            f"{name} must be a dense array, found {type(values).__name__}: use {name}.toarray()"
        )
    array = _array(name, values)
    if array.dtype.kind == "O" and hasattr(values, "read"):
        raise TypeError(
            f"{name} must be an array, found {type(values).__name__}: give what it reads, "
            "source.read(start, stop), or train by fit(batches=Stream(source, batch_size))"
        )
    check_real(name, array.dtype)
    return array


def check_real(name: str, dtype: Any) -> None:
    """Refuse what is no real number."""
    if dtype.kind not in "fiub":
        cure = {
            "c": f"use {name}.real or numpy.abs({name})",
            "O": f"convert it, numpy.asarray({name}, dtype=float), or encode names as numbers",
            "U": "encode names as numbers, numpy.unique(names, return_inverse=True)",
        }
        raise TypeError(
            f"{name} must hold real numbers, found dtype {dtype}: "
            + cure.get(dtype.kind, "convert it to numbers")
        )


def _array(name: str, values: Any) -> Array:
    """Whatever holds numbers as an array, in place where it can be."""
    if isinstance(values, np.ndarray):
        if np.ma.is_masked(values):
            raise ValueError(
                f"{name} has {np.ma.count_masked(values)} masked entries, expected none: fill "
                f"them, {name}.filled(value), or leave out their rows"
            )
        return np.asarray(values)
    if _is_on_device(values) and not backends.why_no_cuda():
        return _converted(name, values, lambda there: _of_device(there).copy_to_host())
    if hasattr(values, "get_columns"):  # a data frame of polars
        return _side_by_side(name, [(part.name, part) for part in values.get_columns()], values)
    if hasattr(values, "columns") and hasattr(values, "items"):  # of pandas
        return _side_by_side(name, list(values.items()), values)
    if hasattr(values, "isna") and hasattr(getattr(values, "dtype", None), "numpy_dtype"):
        if values.isna().any():  # pandas' own dtypes mark gaps beside the numbers
            raise ValueError(f"{name} has missing values, expected none: fill or drop them")
        return np.asarray(values.to_numpy(values.dtype.numpy_dtype))
    return _converted(name, values)


def _of_host(values: Any) -> Array:
    if hasattr(values, "__dlpack__") and not hasattr(values, "__array__"):
        return np.from_dlpack(values)
    return np.asarray(values)


def _of_device(values: Any) -> Any:
    return backends.load("cuda").as_device_array(values)


def _converted(name: str, values: Any, convert: Callable[[Any], Any] = _of_host) -> Any:
    try:
        return convert(values)
    except Exception as error:  # each library has kinds of its own
        reason = str(error).partition("\n")[0].rstrip(".")
        raise TypeError(
            f"{name} cannot be read as an array, found {type(values).__name__} ({reason}): "
            "give a NumPy array"
        ) from error


def _side_by_side(name: str, columns: list[tuple[Any, Any]], frame: Any) -> Array:
    """The columns of a data frame as a matrix, in the dtype that holds them all."""
    parts = [numeric(f"{name}[{label!r}]", column) for label, column in columns]
    matrix = np.empty((len(frame), len(parts)), np.result_type(*parts) if parts else float)
    for index, part in enumerate(parts):
        matrix[:, index] = part
    return matrix


def native(array: Array, dtype: str) -> Array:
    """Return the array as kernels want it: C-contiguous, aligned, of this dtype, no subclass."""
    flags = array.flags
    if type(array) is np.ndarray and array.dtype == dtype and flags.c_contiguous and flags.aligned:
        return array  # as `require` would find, in ten times the time
    with np.errstate(over="ignore"):  # what does not fit becomes inf, which `check_finite` names
        return np.require(array, dtype, ["C", "A", "E"])


def check_finite(
    name: str,
    array: Array,
    original: Array,
    place: Callable[[int], tuple[int, ...]] | None = None,
) -> None:
    """Refuse NaN and infinities in `array`, which was converted from `original`.

    Messages name the index, or the `place` of what has that number in the array.
    """
    if original.dtype.kind != "f":
        return
    flat = array.reshape(-1)
    for start in range(0, flat.size, BLOCK):
        finite = np.isfinite(flat[start : start + BLOCK])
        if not finite.all():
            number = start + int(finite.argmin())
            index = np.unravel_index(number, array.shape)
            where = f"{name}[{', '.join(map(str, place(number) if place else index))}]"
            found = original[index]
            if np.isfinite(found):
                raise ValueError(
                    f"{where} is {found}, too large for {array.dtype}: scale the data, "
                    "or use dtype='float64'"
                )
            raise ValueError(
                f"{where} is {found}, expected finite numbers: remove the row or fill the gap"
            )


def matrix(
    name: str,
    values: ArrayLike,
    columns: int,
    dtype: str,
    *,
    finite: bool,
    backend: str = "cpu",
) -> Array:
    """Return examples as (N, columns): an array, or `SparseRows` of a sparse matrix."""
    if sparse.is_sparse(values):
        if backend == "cuda":
            raise TypeError(f"{name} is sparse, which backend 'cuda' does not read: use 'cpu'")
        return _sparse_matrix(name, values, columns, dtype, finite)
    if _is_on_device(values):
        if backend != "cuda":
            raise TypeError(
                f"{name} lies on a CUDA device, which backend {backend!r} does not read: copy it "
                "to the host, or take backend='cuda'"
            )
        return _device_matrix(name, values, columns, dtype, finite)
    original = numeric(name, values)
    _check_columns(name, original.shape, columns)
    array = native(original, dtype)
    if finite:
        check_finite(name, array, original)
    return array


def _sparse_matrix(name: str, values: Any, columns: int, dtype: str, finite: bool) -> Any:
    check_real(name, values.dtype)
    _check_columns(name, values.shape, columns)
    rows = sparse.rows(name, values)
    data = native(rows.data, dtype)
    if finite:
        check_finite(name, data, rows.data, partial(sparse.row_and_column, rows))
    return replace(rows, data=data)


def _is_on_device(values: Any) -> bool:
    """Whether the values lie on a CUDA device, on a simulated one perhaps."""
    try:
        return hasattr(values, "__cuda_array_interface__") or hasattr(values, "copy_to_host")
    except RuntimeError:  # PyTorch's, of a tensor there that requires a gradient
        return True


def _device_matrix(name: str, values: Any, columns: int, dtype: str, finite: bool) -> Any:
    kernels = backends.load("cuda")
    array = _converted(name, values, _of_device)
    _check_columns(name, array.shape, columns)
    if array.dtype != dtype or not array.is_c_contiguous():
        order = "" if array.is_c_contiguous() else " in another order"
        raise TypeError(
            f"{name} on the device must be of dtype {dtype} and C-contiguous, found {array.dtype}"
            f"{order}: convert it there, or give a NumPy array"
        )
    if finite and not kernels.all_finite(array.reshape(array.size)):
        on_host = array.copy_to_host()
        check_finite(name, on_host, on_host)  # says which number is not
    return array


def _check_columns(name: str, shape: tuple[int, ...], columns: int) -> None:
    """Refuse examples of another number of features."""
    if len(shape) == 1:
        raise ValueError(
            f"{name} must be a matrix of shape (N, {columns}), found shape {shape}: use "
            f"{name}.reshape(1, -1) for one example or {name}.reshape(-1, 1) for one feature"
        )
    if len(shape) != 2 or shape[1] != columns:
        raise ValueError(
            f"{name} must have shape (N, {columns}), found {shape}: "
            "the network's inputs and the number of features must agree"
        )


def targets(
    name: str, values: ArrayLike, shape: tuple[int, int], dtype: str, loss: Loss, *, finite: bool
) -> Array:
    """Return targets as (N, K) = `shape`, or as int64 labels (N,) if the loss takes labels."""
    examples, outputs = shape
    original = numeric(name, values)
    if original.ndim == 0 or len(original) != examples:
        raise ValueError(
            f"{name} must have one entry for each of the {examples} examples, "
            f"found shape {original.shape}"
        )
    if original.ndim == 1 and loss.labels:
        return _labels(name, original, outputs)
    if original.ndim == 1 and outputs == 1:
        original = original.reshape(-1, 1)
    if original.shape != shape:
        wanted = f"labels ({examples},) or probabilities {shape}" if loss.labels else f"{shape}"
        raise ValueError(
            f"{name} must have shape {wanted}, found {original.shape}: "
            + (f"use {name}.ravel() for labels, or " if loss.labels else "")
            + f"give the last layer as many units as {name} has columns"
        )
    array = native(original, dtype)
    if finite:
        check_finite(name, array, original)
        _check_range(name, array, loss)
    return array


def sample_weights(
    values: ArrayLike | None, examples: int, dtype: str, *, part: bool = False
) -> Array | None:
    """Return weights (N,), not negative and not all zero (but for a `part` of them), or None."""
    if values is None:
        return None
    original = numeric("sample_weight", values)
    if original.shape != (examples,):
        raise ValueError(
            f"sample_weight must have shape ({examples},), one for each example, "
            f"found {original.shape}"
        )
    array = native(original, dtype)
    check_finite("sample_weight", array, original)
    if examples and array.min() < 0:
        index = int(array.argmin())
        raise ValueError(
            f"sample_weight[{index}] is {array[index]}, expected no negative weights: "
            "use 0 to leave an example out"
        )
    if examples and float(array.max()) > LARGEST_WEIGHT:
        index = int(array.argmax())
        raise ValueError(
            f"sample_weight[{index}] is {array[index]}, expected weights up to {LARGEST_WEIGHT:g}, "
            "which can be summed: divide them all by one number"
        )
    if not part and not array.any():
        raise ValueError("sample_weight is 0 everywhere: at least one weight must be positive")
    return array


def parameters(values: ArrayLike, size: int) -> Array:
    """Return theta as (P,), in its own dtype."""
    array = numeric("theta", values)
    if array.shape != (size,):
        raise ValueError(
            f"theta must have shape ({size},), one entry for each parameter of the network, "
            f"found {array.shape}: Network.init and Network.flatten make one"
        )
    return array


def not_empty(X: Array) -> None:
    """Refuse an empty batch."""
    if len(X) == 0:
        raise ValueError("X has no examples, expected at least one: there is nothing to average")


def _labels(name: str, original: Array, classes: int) -> Array:
    if original.dtype.kind == "f":
        whole = np.isfinite(original) & (original == np.floor(original))
        if not whole.all():
            index = int(whole.argmin())
            raise ValueError(
                f"{name}[{index}] is {original[index]}, expected integer labels in "
                f"[0, {classes}): for probabilities give an array of shape (N, {classes})"
            )
    if original.size and (original.min() < 0 or original.max() >= classes):
        index = int(np.argmax((original < 0) | (original >= classes)))
        raise ValueError(
            f"{name}[{index}] is {original[index]}, expected labels in [0, {classes}), one for "
            "each unit of the last layer: number classes from 0, or give that layer more units"
        )
    return native(original, "int64")


def _check_range(name: str, array: Array, loss: Loss) -> None:
    """Refuse targets outside of [low, high], and distributions that do not sum to 1."""
    if array.size and not (loss.low <= array.min() and array.max() <= loss.high):
        index = np.argwhere((array < loss.low) | (array > loss.high))[0]
        where = ", ".join(map(str, index))
        raise ValueError(
            f"{name}[{where}] is {array[tuple(index)]}, expected targets in "
            f"[{loss.low:g}, {loss.high:g}] for this loss"
        )
    if loss.labels:
        sums = array.sum(axis=1, dtype=np.float64)
        wrong = np.abs(sums - 1.0) > 1e-3
        if wrong.any():
            index = int(wrong.argmax())
            raise ValueError(
                f"the probabilities {name}[{index}] sum to {sums[index]:g}, expected 1: "
                f"divide each row by its sum"
            )
