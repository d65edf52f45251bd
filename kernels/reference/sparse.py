"""Sparse examples as SciPy multiplies them: zeros take no time, and the rest is the same."""

from scipy.sparse import csr_array, issparse

from ..plan import SparseRows


def examples(X):
    """`X` itself if it is dense, else SciPy's matrix of the same rows."""
    if not isinstance(X, SparseRows):
        return X
    stored = slice(X.indptr[0], X.indptr[-1])
    return csr_array((X.data[stored], X.indices[stored], X.indptr - X.indptr[0]), X.shape)


def numbers(X):
    """An array of all that may not be 0 in `X`."""
    return X.data if issparse(X) else X


def dense(X):
    """`X` with its zeros."""
    return X.toarray() if issparse(X) else X
