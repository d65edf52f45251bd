"""``fastbatch inspect``: the ranking, the report, the pictures, and what is refused."""

import sys

import numpy as np
import pytest
from calling import refused, rows, write

import fastbatch as fb
from fastbatch import datasets
from fastbatch.commands import examination, kept, main, pictures
from fastbatch.commands.columns import show
from fastbatch.commands.examination import Examination
from fastbatch.datasets import Preparation

ANIMALS = np.array(["cat", "dog", "emu"])


def train(source, model, *options, backend="reference"):
    options = ["--epochs", "20", "--backend", backend, "--output", str(model), *options]
    assert main(["train", str(source), *options]) == 0
    return model


def ranks(model, source, *options):
    """The columns of the file with the ranking, as text."""
    path = model.with_name("ranks.csv")
    assert main(["inspect", str(model), str(source), "--output", str(path), *options]) == 0
    header, lines = rows(path)
    return dict(zip(header, zip(*lines, strict=True), strict=True))


@pytest.fixture
def points():
    """120 points in 3 classes, far from one another."""
    y = np.arange(120) % 3
    noise = np.random.default_rng(0).normal(size=(120, 2))
    return noise + 6.0 * np.array([[0, 0], [1, 0], [0, 1]])[y], y


@pytest.mark.parametrize("by", ["norm", "loss"])
def test_planted_labels_come_first(by, backend, points, tmp_path, capsys):
    (a, b), y = points[0].T, points[1]
    clean = write(tmp_path / "clean.csv", kind=ANIMALS[y], a=a, b=b)
    model = train(clean, tmp_path / "model", "--target", "kind", backend=backend)
    planted = [3, 50, 117]
    found = y.copy()
    found[planted] = (y[planted] + 1) % 3
    # Columns may come in another order, and more of them.
    table = write(tmp_path / "found.csv", b=b, age=np.arange(120), kind=ANIMALS[found], a=a)
    capsys.readouterr()
    columns = ranks(model, table, "--target", "kind", "--by", by, "--top", "3")
    order = np.array(columns["row"], int) - 1
    assert sorted(order[:3]) == planted
    assert sorted(order) == list(range(120))
    assert list(columns["label"]) == list(ANIMALS[found][order])
    assert list(columns["prediction"][:3]) == list(ANIMALS[y][order[:3]])
    assert (np.diff(np.array(columns[by], float)) <= 0).all()
    report, (header, *shown, saved) = np.split(capsys.readouterr().out.splitlines(), [5])
    assert report[0].split() == ["examples", "120"]
    assert tuple(header.split()) == examination.COLUMNS
    assert [line.split()[:3] for line in shown] == [
        [columns[name][place] for name in ("row", "label", "prediction")] for place in range(3)
    ]
    assert saved == f"saved to {tmp_path / 'ranks.csv'}"


def test_a_row_far_off_has_the_largest_norm(points, tmp_path):
    (a, b), y = points[0].T, points[1]
    model = train(
        write(tmp_path / "clean.csv", kind=ANIMALS[y], a=a, b=b),
        tmp_path / "model",
        "--target=kind",
    )
    a[40], b[40] = -50, 70
    found = write(tmp_path / "found.csv", kind=ANIMALS[y], a=a, b=b)
    assert ranks(model, found, "--target=kind")["row"][0] == "41"


def test_figures_are_those_of_the_network_whatever_the_block(monkeypatch, tmp_path, capsys):
    model = train("iris", tmp_path / "model", backend="cpu")
    capsys.readouterr()
    columns = ranks(model, "iris", "--top", "0")
    report = capsys.readouterr().out
    monkeypatch.setattr(examination, "BLOCK", 4 * 7)  # seven examples
    assert ranks(model, "iris", "--top", "0") == columns
    assert capsys.readouterr().out == report

    trainer, data = fb.Trainer.load(model), datasets.read("iris")
    examples = trainer.theta, kept.preparation(trainer).inputs(data.X), data.y
    norms, losses = trainer.network.gradient_norms(*examples), trainer.network.losses(*examples)
    order = np.array(columns["row"], int) - 1
    np.testing.assert_array_equal(np.array(columns["norm"], "float32"), norms[order])
    np.testing.assert_array_equal(np.array(columns["loss"], "float32"), losses[order])
    assert f"mean loss       {losses.mean(dtype=float):.4g}\n" in report
    assert f"smallest {norms.min():.4g}, " in report
    assert f"50 % {np.median(norms.astype(float)):.4g}, " in report
    assert f"largest {norms.max():.4g}\n" in report


def test_the_noise_scale_is_that_of_the_gradient_statistics():
    data = datasets.read("wine")
    preparation = Preparation.of(data)
    network = fb.Network([fb.Dense(5, "tanh"), fb.Dense(3)], 13, "cross_entropy", "float64")
    trainer = fb.Trainer(network)
    expected = network.gradient_statistics(trainer.theta, preparation.inputs(data.X), data.y)
    found = Examination.of(trainer, preparation, data)
    assert found.noise_scale == pytest.approx(expected.noise_scale, rel=1e-10)


def test_a_single_example_has_no_noise_scale():
    data = datasets.Dataset(np.ones((1, 2)), np.ones(1), ("a", "b"), None)
    network = fb.Network([fb.Dense(1)], 2, "huber", backend="reference")
    found = Examination.of(fb.Trainer(network), Preparation.of(data), data)
    assert np.isnan(found.noise_scale)


def examined(norms, noise_scale=1.0):
    """An examination of which only norms matter."""
    norms = np.array(norms, np.float32)
    return Examination(norms, norms, norms, norms, noise_scale)


@pytest.mark.parametrize(
    ("norms", "share"),
    [
        ([3, 4, 0], "1 examples have 64.0%"),
        ([1] * 200, "2 examples have 1.0%"),
        ([0, 0], "1 examples have nan%"),
        ([np.inf, 1, 2], "1 examples have nan%"),
    ],
)
def test_the_share_of_the_largest_norms(norms, share):
    assert share in dict(examined(norms).report())["largest 1 %"]


def test_a_noise_that_hides_the_mean_is_named():
    assert dict(examined([1], 12.34).report())["noise scale"] == "12.34 examples in a batch"
    hidden = dict(examined([1], np.inf).report())["noise scale"]
    assert hidden == "inf examples in a batch: noise hides the mean gradient"


def test_what_is_not_finite_ranks_first():
    ranking = examined([1, np.nan, 3, np.inf, 2]).ranking("norms")
    assert [row for row, *_ in ranking] == [2, 4, 3, 5, 1]


def test_no_digit_of_a_row_is_lost(capsys):
    show("abcd", [(1234567, "cat", np.float32(1 / 3), None), (1, "", 1e6 / 3, np.inf)])
    assert [line.split() for line in capsys.readouterr().out.splitlines()] == [
        ["a", "b", "c", "d"],
        ["1234567", "cat", "0.333333", "-"],
        ["1", "333333", "inf"],
    ]


def test_a_regression_is_told_in_the_units_of_its_target(tmp_path):
    rng = np.random.default_rng(0)
    size = rng.normal(size=200)
    price = 1000 + 300 * size + rng.normal(size=200)
    table = write(tmp_path / "all.csv", size=size, price=price)
    model = train(table, tmp_path / "model", "--target", "price", "--lr", "0.01")
    # Few whole numbers look like classes, but this model predicts values.
    few, true = np.round(price[:20]).astype(int), price[:20]
    few[7] += 100
    found = write(tmp_path / "few.csv", size=size[:20], price=few)
    columns = ranks(model, found, "--target", "price", "--by", "loss")
    order = np.array(columns["row"], int) - 1
    assert order[0] == 7
    assert (np.array(columns["label"], float) == few[order]).all()
    assert np.abs(np.array(columns["prediction"], float) - true[order]).max() < 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--top", "-1"], "--top must be an integer in [0, inf), found -1"),
        (["--by", "size"], "invalid choice: 'size'"),
        (["--output", "nowhere/ranks.csv"], "--output nowhere/ranks.csv: no such folder"),
        (["--plot", "nowhere/iris"], "--plot nowhere/iris: no such folder"),
        ([], "fastbatch inspect: nothing: No such file"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(options, message, capsys):
    assert message in refused(capsys, "inspect", "nothing", "iris", *options)


@pytest.mark.parametrize(
    ("known", "found", "message"),
    [
        ([0.5, 1.5], ["x", "y"], "the model predicts values, found classes such as 'x'"),
        (["x", "y"], [0.5, 1.5], "the model predicts classes, found values such as 0.5"),
        (["x", "y"], ["x", "z"], "the model does not know the class 'z', only x, y"),
    ],
)
def test_targets_of_another_kind_are_refused(known, found, message, tmp_path, capsys):
    first = write(tmp_path / "first.csv", size=range(20), kind=known * 10)
    second = write(tmp_path / "second.csv", size=range(20), kind=found * 10)
    model = train(first, tmp_path / "model", "--target", "kind")
    line = refused(capsys, "inspect", model, second, "--target", "kind")
    assert line == f"fastbatch inspect: {second}: {message}"


def test_a_model_saved_in_python_does_not_know_how_its_data_were_prepared(tmp_path, capsys):
    fb.Trainer(fb.Network([fb.Dense(1)], 4, "huber", backend="reference")).save(tmp_path / "model")
    line = refused(capsys, "inspect", tmp_path / "model", "iris")
    assert "expected one written by 'fastbatch train'" in line


def test_data_with_other_features_are_refused(tmp_path, capsys):
    model = train("iris", tmp_path / "model")
    assert "wine has no column 'sepal length (cm)'" in refused(capsys, "inspect", model, "wine")


def test_a_missing_matplotlib_is_one_sentence_that_names_the_extra(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    line = refused(capsys, "inspect", "nothing", "iris", "--plot", tmp_path / "iris")
    assert line.endswith("pictures are drawn with matplotlib: pip install 'fastbatch[plot]'")


def share_of(colour, path):
    """The share of a picture's pixels that have this colour."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    return np.isclose(imread(path)[..., :3], to_rgb(colour), atol=1e-3).all(axis=2).mean()


def test_pictures_are_drawn_of_what_there_is(tmp_path, capsys):
    model, prefix = train("iris", tmp_path / "model"), tmp_path / "iris"
    argv = ["inspect", str(model), "iris", "--plot", str(prefix)]
    assert main(argv) == 0
    assert capsys.readouterr().out.endswith(f"drawn to {prefix}-norms.png\n")
    assert not (tmp_path / "iris-noise-scale.png").exists()

    train("iris", model, "--monitor", "noise_scale")
    assert main(argv) == 0
    assert capsys.readouterr().out.endswith(f"drawn to {prefix}-noise-scale.png\n")
    for name in ("norms", "noise-scale"):
        for colour in (pictures.BLUE, pictures.ORANGE):
            assert share_of(colour, tmp_path / f"iris-{name}.png") > 5e-4  # more than the legend


@pytest.mark.parametrize(
    "norms", [[0, 0], [1], [2, 2, 2], [1e-30, 1, 0, np.inf], [1e-40, 3e38], [np.nan, np.inf]]
)
def test_any_norms_can_be_drawn(norms, tmp_path):
    network = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    (path,) = pictures.draw(str(tmp_path / "any"), np.array(norms, "float32"), fb.Trainer(network))
    assert (share_of(pictures.BLUE, path) > 0.001) == np.isfinite(norms).any()


@pytest.mark.parametrize("scales", [[3.0], [-5.0, np.nan], [20.0, 1e6, -30.0, np.inf]])
def test_any_noise_scales_can_be_drawn(scales, tmp_path):
    network = fb.Network([fb.Dense(1)], 1, "huber", backend="reference")
    trainer = fb.Trainer(network)
    trainer.history = [
        fb.EpochRecord(epoch, epoch, 1.0, None, None, "r2", 1.0, 1.0, noise_scale)
        for epoch, noise_scale in enumerate(scales, start=1)
    ]
    _, path = pictures.draw(str(tmp_path / "any"), np.ones(3), trainer)
    assert share_of(pictures.BLUE, path) > 1e-5
