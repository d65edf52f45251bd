"""A history becomes a picture with a curve for whatever is known of the epochs."""

import math

import pytest

from fastbatch import learning_curves
from fastbatch.history import EpochRecord


def history(losses, **rest):
    return [
        EpochRecord(epoch, epoch, loss, None, None, "accuracy", 1.0, 1.0, **rest)
        for epoch, loss in enumerate(losses, start=1)
    ]


VALIDATED = [
    EpochRecord(
        epoch,
        epoch,
        1 / epoch,
        2 / epoch,
        1 - 1 / epoch,
        "accuracy",
        1.0,
        1.0,
        metrics={"auc": 1 - 0.1 / epoch, "log_loss": 3 / epoch},
    )
    for epoch in range(1, 9)
]


def labels(records, tmp_path):
    """The texts of the picture."""
    learning_curves.draw(records, tmp_path / "curves.svg")
    text = (tmp_path / "curves.svg").read_text()
    return [part.partition("</text>")[0].rpartition(">")[2] for part in text.split("<text ")[1:]]


def test_losses_alone_have_one_panel(tmp_path):
    found = labels(history([3.0, 2.0, 1.0]), tmp_path)
    assert {"training", "loss", "epoch"} <= set(found)
    assert not {"validation", "validation score"} & set(found)


def test_all_that_is_known_has_a_curve(tmp_path):
    expected = {"training", "validation", "accuracy", "auc", "log_loss", "validation score"}
    assert expected <= set(labels(VALIDATED, tmp_path))


def test_curves_are_the_values_of_the_epochs_and_scores_share_a_panel():
    panels = learning_curves._panels(VALIDATED)
    assert list(panels) == ["loss", "validation log_loss", "validation score"]
    assert panels["loss"]["validation"] == [2 / epoch for epoch in range(1, 9)]
    assert panels["validation score"]["auc"][0] == 0.9
    assert list(panels["validation score"]) == ["accuracy", "auc"]


def test_epochs_without_validation_are_gaps():
    panels = learning_curves._panels([*history([5.0]), *VALIDATED[1:]])
    for panel, name in (("loss", "validation"), ("validation score", "auc")):
        first, *others = panels[panel][name]
        assert math.isnan(first) and all(map(math.isfinite, others))


def test_losses_over_decades_have_a_logarithmic_axis(tmp_path):
    for losses, decades in (([1e3, 1.0], True), ([1e3, 100.0], False), ([1e3, 0.0], False)):
        learning_curves.draw(history(losses), tmp_path / "curves.svg")
        assert ("mathdefault{10^{" in (tmp_path / "curves.svg").read_text()) == decades


@pytest.mark.parametrize("losses", [[1.0], [math.nan, math.inf], [1.0, math.nan, 0.0]])
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_any_history_can_be_drawn_and_gives_the_same_file(losses, kind, tmp_path):
    paths = [tmp_path / name / f"curves.{kind}" for name in "ab"]
    for path in paths:
        path.parent.mkdir()
        learning_curves.draw(history(losses), path)
    assert paths[0].read_bytes() == paths[1].read_bytes()


def test_no_epoch_is_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no epoch is finished"):
        learning_curves.draw([], tmp_path / "curves.png")
