"""Every picture is made in one way: whole, or the older one stays."""

import os

import pytest

from fastbatch.pictures import picture


def draw(path):
    with picture(path) as figure:
        figure.subplots().plot([1, 2])


@pytest.mark.parametrize("kind", ["png", "svg", "SVG"])
def test_what_goes_wrong_leaves_the_older_picture(kind, tmp_path, monkeypatch):
    def fail(*arguments):
        raise OSError("full")

    path = tmp_path / f"curves.{kind}"
    draw(path)
    before = path.read_bytes()
    with pytest.raises(KeyError), picture(path):
        raise KeyError
    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="full, so nothing was written there"):
        draw(path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_link_to_a_picture_of_any_name_stays_one(tmp_path):
    link, path = tmp_path / "latest.png", tmp_path / "curves"
    link.symlink_to(path)
    draw(link)
    assert link.is_symlink() and path.read_bytes().startswith(b"\x89PNG")


def test_a_style_of_the_users_own_is_put_back(tmp_path):
    import matplotlib

    before = dict(matplotlib.rcParams)
    draw(tmp_path / "curves.png")
    assert matplotlib.rcParams == before
