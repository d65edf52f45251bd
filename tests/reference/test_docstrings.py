"""Every public name has an example in its docstring, and all examples run."""

import doctest
import importlib
import pkgutil

import pytest

from fastbatch.kernels import reference


@pytest.mark.parametrize(
    "name", [module.name for module in pkgutil.iter_modules(reference.__path__)]
)
def test_examples_in_docstrings_run(name):
    module = importlib.import_module(f"fastbatch.kernels.reference.{name}")
    assert doctest.testmod(module, raise_on_error=True).failed == 0


@pytest.mark.parametrize("name", reference.__all__)
def test_every_public_name_has_an_example(name):
    assert ">>> " in getattr(reference, name).__doc__
