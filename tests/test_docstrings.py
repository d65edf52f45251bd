"""Every public name says what it is for and shows it; pytest runs the examples."""

import inspect

import pytest

import fastbatch as fb

METHODS = [
    member
    for kind in (fb.Network, fb.Trainer)
    for name, member in inspect.getmembers(kind)
    if not name.startswith("_") and not isinstance(member, str | int)
]


@pytest.mark.parametrize("thing", [getattr(fb, name) for name in fb.__all__] + METHODS)
def test_every_public_name_has_an_example(thing):
    assert ">>> " in inspect.getdoc(thing)
