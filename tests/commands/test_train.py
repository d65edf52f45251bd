"""``fastbatch train``: what it says, and what it leaves behind."""

import json
import re

import numpy as np
import pytest
from calling import QUICK, refused, rows, write

import fastbatch as fb
from fastbatch import datasets
from fastbatch.commands import kept, main, options


def test_training_says_what_it_does(capsys):
    assert main(["train", "iris", *QUICK]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "iris: 150 examples, 4 features, 3 classes; 15 held out for validation"
    assert lines[1] == "network 4-64-64-3 (4,675 parameters), relu, adam, batches of 32"
    assert [line.split()[1] for line in lines[2:7]] == [f"{epoch}/5" for epoch in range(1, 6)]
    assert all("accuracy" in line for line in lines[2:7])
    assert re.fullmatch(r"held-out accuracy 0\.\d{4}, 25 steps in .* s, .* steps/s", lines[7])
    assert len(lines) == 8


def test_the_demo_reaches_97_percent(backend, capsys):
    assert main(["train", "digits", "--hidden", "64", "64", "--backend", backend]) == 0
    accuracy = re.search(r"held-out accuracy (\S+),", capsys.readouterr().out)
    assert float(accuracy[1]) >= 0.97


def test_options_reach_the_trainer(tmp_path):
    model = tmp_path / "model.safetensors"
    options = "--hidden 5 --activation tanh --epochs 2 --batch-size 7 --optimizer rmsprop --lr 0.5"
    options += " --sampler replacement --clip 2 --noise 0.1 --dropout 0.3 --l2 0.2"
    others = f"--seed 3 --validation 0.3 --backend reference --output {model}"
    assert main(["train", "wine", *options.split(), *others.split()]) == 0
    trainer = fb.Trainer.load(model)
    assert trainer.network.layers == (fb.Dense(5, "tanh"), fb.Dropout(0.3), fb.Dense(3))
    assert trainer.optimizer == fb.RMSprop(0.5)
    assert (trainer.batch_size, trainer.seed, trainer.epoch) == (7, 3, 2)
    assert (trainer.sampler, trainer.clip) == ("replacement", fb.PerExampleClip(2.0))
    assert (trainer.noise, trainer.l2) == (fb.GaussianNoise(0.1), 0.2)
    assert trainer.step == 2 * int(np.ceil((178 - round(0.3 * 178)) / 7))
    assert kept.preparation(trainer).classes == ("class_0", "class_1", "class_2")


def test_threads_do_not_change_the_model(tmp_path):
    before = fb.get_threads()
    thetas = []
    for threads in ("1", "2"):
        model = tmp_path / f"{threads}.safetensors"
        train = ["train", "wine", "--epochs", "3", "--threads", threads, "--output", str(model)]
        assert main(train) == 0
        thetas.append(fb.Trainer.load(model).theta)
    fb.set_threads(before)
    assert np.array_equal(*thetas)


def test_metrics_are_shown_and_logged(tmp_path, capsys):
    log = tmp_path / "log.csv"
    names = ["balanced_accuracy", "log_loss"]
    assert main(["train", "iris", *QUICK, "--metrics", *names, "--log", str(log)]) == 0
    shown = re.findall(r"balanced_accuracy (\S+)  log_loss (\S+)", capsys.readouterr().out)
    header, lines = rows(log)
    columns = [header.index(name) for name in names]
    assert [tuple(f"{float(line[i]):.4f}" for i in columns) for line in lines] == shown
    assert len(lines) == 5


@pytest.mark.parametrize("name", ["log.csv", "log.jsonl"])
def test_a_log_is_of_one_run_only(name, tmp_path, capsys):
    log = tmp_path / name
    train = ["train", "iris", *QUICK, "--log", log]
    assert main([*map(str, train)]) == 0
    before = log.read_text()
    assert len(before.splitlines()) == 5 + name.endswith("csv")
    assert f"--log {log} is there already" in refused(capsys, *train)
    assert log.read_text() == before


def test_a_run_that_was_not_saved_begins_again_in_its_log(tmp_path):
    log, model = tmp_path / "log.csv", tmp_path / "model.safetensors"
    train = ["train", "iris", *QUICK, "--resume", "--log", str(log), "--output", str(model)]
    for _ in range(2):
        assert main(train) == 0
        model.unlink()
    assert [record.epoch for record in fb.callbacks.read_log(log)] == [1, 2, 3, 4, 5]
    assert len(log.read_text().splitlines()) == 11  # nothing was lost


def test_a_file_that_is_no_log_is_not_overwritten(tmp_path, capsys):
    table, model = write(tmp_path / "data.csv", a=[1, 2], b=[3, 4]), tmp_path / "model"
    before = table.read_text()
    train = ["train", "iris", *QUICK, "--log", table, "--output", model]
    assert "is there already" in refused(capsys, *train)
    assert "is not a log" in refused(capsys, *train, "--resume")
    assert table.read_text() == before


def test_learning_curves_are_drawn(tmp_path, capsys):
    picture = tmp_path / "curves.svg"
    assert main(["train", "iris", *QUICK, "--plot", str(picture)]) == 0
    assert f"drawn to {picture}" in capsys.readouterr().out
    assert "accuracy" in picture.read_text()


def test_patience_stops_and_keeps_the_best_model(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train = ["train", "wine", "--backend", "reference", "--epochs", "500", "--lr", "0.01"]
    assert main([*train, "--patience", "3", "--output", str(model)]) == 0
    out = capsys.readouterr().out
    last, best = fb.Trainer.load(model), fb.Trainer.load(tmp_path / "model.best.safetensors")
    losses = [record.validation_loss for record in last.history]
    assert best.epoch == int(np.argmin(losses)) + 1 == last.epoch - 3
    assert f"stopped after {last.epoch} of 500 epochs\n" in out
    where = tmp_path / "model.best.safetensors"
    assert f"lowest validation loss after epoch {best.epoch}, saved to {where}\n" in out


def test_a_time_limit_stops_without_an_error(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train = ["train", "iris", "--backend", "reference", "--epochs", "1000000"]
    assert main([*train, "--time-limit", "0", "--output", str(model)]) == 0
    assert "stopped after 0 of 1,000,000 epochs" in capsys.readouterr().out
    assert fb.Trainer.load(model).step == 0


def test_the_options_stand_beside_the_model(tmp_path):
    model = tmp_path / "model.safetensors"
    assert main(["train", "iris", *QUICK, "--lr", "0.25", "--output", str(model)]) == 0
    text = (tmp_path / "model.safetensors.toml").read_text()
    assert 'data = "iris"\n' in text
    assert "lr = 0.25\n" in text
    assert "hidden = [64, 64]\n" in text
    assert kept.found(fb.Trainer.load(model))["options"]["epochs"] == 5


@pytest.mark.parametrize(
    ("name", "found"), [("model.safetensors", "model.best.safetensors"), ("run", "run.best")]
)
def test_the_best_model_has_a_name_like_the_last(name, found):
    from fastbatch.commands.paths import best_path

    assert best_path(f"folder/{name}").as_posix() == f"folder/{found}"


@pytest.fixture
def pets(tmp_path):
    """A function that writes a table of 90 pets whose weight follows from what they are."""

    def make(name="pets.csv", kinds=("cat", "dog", "emu"), **others):
        rng = np.random.default_rng(0)
        kind = rng.integers(len(kinds), size=90)
        columns = {
            "kind": np.array(kinds)[kind],
            "age": rng.integers(1, 20, 90),
            "town": rng.choice([100, 200], 90),
            "weight": 4.0 + 10 * kind + rng.normal(size=90),
        }
        return write(tmp_path / name, **columns | others)

    return make


def test_text_is_one_hot_encoded(pets, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train = ["train", str(pets()), "--target", "weight", "--lr", "0.01", "--output", str(model)]
    assert main([*train, "--backend", "reference"]) == 0
    out = capsys.readouterr().out
    assert "90 examples, 3 features (1 of text), regression" in out
    assert "network 5-64-64-1" in out
    assert float(re.search(r"held-out r2 (\S+),", out)[1]) > 0.9
    assert kept.preparation(fb.Trainer.load(model)).categories == (("cat", "dog", "emu"),)


def test_numbers_may_be_categories(pets, capsys):
    train = ["train", str(pets()), "--target", "weight", *QUICK]
    assert main([*train, "--categorical", "town", "age"]) == 0
    out = capsys.readouterr().out
    assert "3 features (3 of text)" in out
    assert "network 24-64-64-1" in out  # 3 kinds, 19 ages, 2 towns


def test_texts_that_are_names_of_the_examples_are_warned_of(pets, capsys):
    train = ["train", str(pets(born=[f"day {i}" for i in range(90)])), "--target", "weight", *QUICK]
    assert main(train) == 0
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("warning: column born has 81 different texts in 81 examples")


def test_gaps_are_refused_or_filled(pets, tmp_path, capsys):
    age = [*range(88), "", 5]
    town = ["", "here", "there"] * 30
    table, model = pets(age=age, town=town), tmp_path / "model.safetensors"
    train = ["train", table, "--target", "weight", *QUICK, "--output", model]
    line = refused(capsys, *train)
    assert line.endswith(
        f"{table}: example 89 has no value in column age: "
        "remove the row, fill the gap, or train with --impute"
    )
    assert main([*map(str, train), "--impute"]) == 0
    preparation = kept.preparation(fb.Trainer.load(model))
    assert preparation.gaps
    assert preparation.categories[1][0] == ""
    answers = tmp_path / "answers.csv"
    assert main(["predict", str(model), str(table), "--output", str(answers)]) == 0
    assert len(rows(answers)[1]) == 90


@pytest.mark.parametrize("suffix", [".parquet", ".npz", ".npy"])
def test_other_files_train_as_csv_does(suffix, tmp_path):
    import pyarrow
    from pyarrow import parquet

    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 3)).astype(np.float32).astype(float)
    y = (X[:, 0] > 0).astype(int)
    table = write(tmp_path / "data.csv", x0=X[:, 0], x1=X[:, 1], x2=X[:, 2], x3=y)
    path, target = tmp_path / f"data{suffix}", "x3"
    if suffix == ".parquet":
        columns = {f"x{i}": column for i, column in enumerate((*X.T, y))}
        parquet.write_table(pyarrow.table(columns), path)
    elif suffix == ".npz":
        np.savez(path, X=X, x3=y)
    else:
        np.save(path, np.column_stack([X, y]))
        target = "-1"
    found = []
    for source, column in ((table, "x3"), (path, target)):
        model = tmp_path / "model.safetensors"
        assert main(["train", str(source), "--target", column, *QUICK, "--output", str(model)]) == 0
        trainer = fb.Trainer.load(model)
        found.append((kept.found(trainer)["data"], trainer.theta.tolist()))
    assert found[0] == found[1]


def test_examples_count_by_their_weights(pets, tmp_path, capsys):
    weights = np.random.default_rng(1).integers(0, 3, 90)
    table, model = pets(count=weights), tmp_path / "model.safetensors"
    train = ["train", table, "--target", "weight", "--weight-column", "count", *QUICK]
    assert main([*map(str, train), "--output", str(model)]) == 0
    said = f"{table}: 90 examples, 3 features (1 of text), regression, weighted by count; "
    assert capsys.readouterr().out.startswith(said)
    found = fb.Trainer.load(model)
    data = datasets.read(str(table), "weight", weights="count")
    training, _ = datasets.split(data, 0.1, 0, "reference")
    preparation = kept.preparation(found)
    assert preparation.features == ("kind", "age", "town")
    trainer = fb.Trainer(found.network)
    X, y = preparation.inputs(training.X), preparation.targets(training.y)
    trainer.fit(X, y, epochs=5, sample_weight=training.weights)
    assert trainer.theta.tolist() == found.theta.tolist()


def test_all_that_a_model_keeps_is_json(pets, tmp_path):
    model = tmp_path / "model.safetensors"
    train = ["train", str(pets()), "--target", "kind", *QUICK, "--output", str(model)]
    assert main(train) == 0
    extra = fb.Trainer.load(model).extra
    assert json.loads(json.dumps(extra)) == extra


def test_every_option_has_a_default_and_the_other_way_round():
    import argparse

    parser = argparse.ArgumentParser()
    options.configure(parser)
    names = {action.dest for action in parser._actions}
    assert names - {"help", "config"} == options.DEFAULTS.keys()
