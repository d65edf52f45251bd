"""The command line: what it says, what it leaves behind, and its exit status."""

import csv
import re
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import fastbatch as fb
from fastbatch import commands
from fastbatch.commands import doctor, main
from fastbatch.datasets import Preparation
from fastbatch.verification import Check

QUICK = ["--backend", "reference", "--epochs", "5"]


def refused(capsys, *argv):
    """The one line with which a command is refused."""
    try:
        status = main([str(argument) for argument in argv])
    except SystemExit as leaving:
        status = leaving.code
    assert status == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line


@pytest.fixture
def flowers(tmp_path):
    """Iris as a CSV file with text labels."""
    from sklearn.datasets import load_iris

    iris = load_iris()
    path = tmp_path / "flowers.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["species", *iris.feature_names])
        writer.writerows(
            [iris.target_names[label], *row]
            for label, row in zip(iris.target, iris.data.tolist(), strict=True)
        )
    return path


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


def test_a_model_of_a_csv_predicts_its_labels(flowers, tmp_path, capsys):
    model, answers = tmp_path / "model.safetensors", tmp_path / "answers.csv"
    train = ["train", str(flowers), "--target", "species", "--lr", "0.02", "--output", str(model)]
    assert main([*train, "--backend", "reference"]) == 0
    assert f"saved to {model}" in capsys.readouterr().out
    assert main(["predict", str(model), str(flowers), "--output", str(answers)]) == 0
    with answers.open(newline="") as file:
        header, *rows = csv.reader(file)
    assert header == ["prediction", "setosa", "versicolor", "virginica"]
    with flowers.open(newline="") as file:
        truth = [row["species"] for row in csv.DictReader(file)]
    assert np.mean([row[0] == label for row, label in zip(rows, truth, strict=True)]) > 0.9
    probabilities = np.array([row[1:] for row in rows], dtype=float)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    best = probabilities.argmax(axis=1)
    assert [header[1:][index] for index in best] == [row[0] for row in rows]


def test_a_regression_predicts_in_the_units_of_its_target(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    assert main(["train", "diabetes", *QUICK, "--hidden", "--output", str(model)]) == 0
    capsys.readouterr()
    assert main(["predict", str(model), "diabetes"]) == 0
    header, *rows = capsys.readouterr().out.splitlines()
    assert header == "prediction"
    assert len(rows) == 442
    assert 100 < np.mean([float(row) for row in rows]) < 200  # the targets' mean is 152


def test_an_npz_file_trains(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.savez(tmp_path / "data.npz", X=X, y=(X[:, 0] > 0).astype(int))
    assert main(["train", str(tmp_path / "data.npz"), *QUICK]) == 0
    assert "3 features, 2 classes" in capsys.readouterr().out


def test_options_reach_the_trainer(tmp_path):
    model = tmp_path / "model.safetensors"
    options = "--hidden 5 --activation tanh --epochs 2 --batch-size 7 --optimizer rmsprop --lr 0.5"
    options += " --sampler replacement --clip 2 --noise 0.1 --dropout 0.3"
    others = f"--seed 3 --validation 0.3 --backend reference --output {model}"
    assert main(["train", "wine", *options.split(), *others.split()]) == 0
    trainer = fb.Trainer.load(model)
    assert trainer.network.layers == (fb.Dense(5, "tanh"), fb.Dropout(0.3), fb.Dense(3))
    assert trainer.optimizer == fb.RMSprop(0.5)
    assert (trainer.batch_size, trainer.seed, trainer.epoch) == (7, 3, 2)
    assert (trainer.sampler, trainer.clip) == ("replacement", fb.PerExampleClip(2.0))
    assert trainer.noise == fb.GaussianNoise(0.1)
    assert trainer.step == 2 * int(np.ceil((178 - round(0.3 * 178)) / 7))
    assert Preparation.from_json(trainer.extra).classes == ("class_0", "class_1", "class_2")


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


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "fastbatch: the following arguments are required: command"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "the following arguments are required: data"),
        (["train", "iris", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "iris", "--activation", "rleu"], "invalid choice: 'rleu'"),
        (["train", "nothing"], "fastbatch train: no data set 'nothing'"),
        (["train", "nothing.csv"], "nothing.csv: no such file"),
        (["train", "iris", "--epochs", "0"], "--epochs must be at least 1, found 0"),
        (["train", "iris", "--hidden", "0"], "units must be an integer in [1, inf), found 0"),
        (["train", "iris", "--batch-size", "-1"], "batch_size must be an integer"),
        (["train", "iris", "--lr", "-1"], "lr must be a finite number"),
        (["train", "iris", "--seed", "-1"], "seed must be an integer"),
        (["train", "iris", "--sampler", "poison"], "invalid choice: 'poison'"),
        (["train", "iris", "--clip", "-1"], "max_norm must be positive, found -1.0"),
        (["train", "iris", "--noise", "1"], "noise needs clip"),
        (["train", "iris", "--threads", "0"], "n must be an integer in [1, inf), found 0"),
        (["train", "iris", "--validation", "1"], "leaves one part empty"),
        (["train", "iris", "--output", "nowhere/model"], "no such folder"),
        (["predict", "nothing", "iris"], "fastbatch predict: nothing: No such file"),
        (["predict", "pyproject.toml", "iris"], "damaged or not a checkpoint"),
    ],
)
def test_a_mistake_takes_one_line_and_status_2(capsys, argv, message):
    assert message in refused(capsys, *argv)


def test_a_model_of_other_features_is_refused(flowers, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    assert main(["train", "wine", *QUICK, "--output", str(model)]) == 0
    assert "has no column 'alcohol'" in refused(capsys, "predict", model, flowers)


def test_a_model_without_its_preparation_is_refused(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    network = fb.Network([fb.Dense(1)], inputs=4, loss="huber", backend="reference")
    fb.Trainer(network).save(model)
    assert "expected one written by 'fastbatch train'" in refused(capsys, "predict", model, "iris")


def test_divergence_takes_one_line(capsys):
    line = refused(capsys, "train", "iris", *QUICK, "--optimizer", "sgd", "--lr", "1e30")
    assert "training diverged: the loss of step 1 is not finite" in line


def test_a_missing_package_takes_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "pip install 'fastbatch[demo]'" in refused(capsys, "train", "iris")


def test_an_interrupted_training_leaves_the_old_model_and_status_130(tmp_path):
    model = tmp_path / "model.safetensors"
    model.write_bytes(b"the old one")
    command = "from fastbatch.commands import main; raise SystemExit(main())"
    options = ["--backend", "reference", "--epochs", "100000", "--output", str(model)]
    process = subprocess.Popen(
        [sys.executable, "-c", command, "train", "digits", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while "epoch" not in process.stdout.readline():  # until it trains
        pass
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert err == "fastbatch train: interrupted\n"
    assert model.read_bytes() == b"the old one"
    assert list(tmp_path.iterdir()) == [model]


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    model = tmp_path / "model.safetensors"
    assert main(["train", "digits", *QUICK, "--output", str(model)]) == 0
    command = "from fastbatch.commands import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "predict", str(model), "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def test_the_doctor_knows_the_machine(capsys):
    assert main(["doctor"]) == 0
    report = dict(
        re.split(r"  +", line, maxsplit=1) for line in capsys.readouterr().out.splitlines()
    )
    assert report["fastbatch"] == fb.__version__
    assert report["threads"] == str(fb.get_threads())
    assert report["extra demo"] == "present"
    assert {"processor", "vectors", "threading layer", "kernel cache"} <= report.keys()


def facts(**others):
    return {
        "cpu": "haswell",
        "features": ["+avx2", "+fma"],
        "vector_bits": 512,
        "tile": "narrow",
        "threading_layer": "omp",
        "threads": 2,
        "cache": "/nowhere",
        **others,
    }


@pytest.mark.parametrize(
    ("fact", "sentence"),
    [
        ({}, "256 bits (avx2, fma), the kernels think in 512; narrow register tiles"),
        ({}, "/nowhere is empty: the first training compiles the kernels"),
        ({"threading_layer": "omp"}, "omp; OpenMP"),
        (
            {"threading_layer": "workqueue"},
            "networks use more than one; install libgomp",
        ),
        ({"features": []}, "none of AVX-512, AVX2 and FMA"),
    ],
)
def test_the_doctor_explains_what_it_finds(fact, sentence):
    assert sentence in "\n".join(text for _, text in doctor.machine(facts(**fact)))


def test_the_doctor_names_the_extra_of_a_missing_package(monkeypatch):
    monkeypatch.setattr(doctor, "requires", lambda _: ['nopackage>=1; extra == "demo"', "numpy"])
    assert list(doctor.extras()) == [
        ("extra demo", "missing nopackage: pip install 'fastbatch[demo]'")
    ]


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """A backend of two kernels, one of them compiled."""
    (tmp_path / "first-1.nbc").touch()
    facts = {"cache": str(tmp_path), "cache_is_writable": True}
    kernels = SimpleNamespace(
        describe=lambda: facts,
        compilations=lambda dtypes: [
            ("first", lambda: None),
            (f"second ({', '.join(dtypes)})", (tmp_path / "second-1.nbc").touch),
        ],
    )
    monkeypatch.setattr(commands.warmup.backends, "load", lambda name: kernels)
    return facts


def test_warmup_compiles_what_is_missing_and_says_so(cache, capsys):
    assert main(["warmup"]) == 0
    out, err = capsys.readouterr()
    assert re.match(r"compiled in \d+\.\d s: second\n", out)
    assert out.endswith(f"{cache['cache']} holds 2 compiled kernels, 0.0 MB\n")
    assert err == ""
    assert main(["warmup", "--dtype", "float32"]) == 0
    assert capsys.readouterr().out.startswith("nothing to compile: all 2 kernels are there\n")


def test_warmup_refuses_a_folder_that_cannot_be_written(cache, capsys):
    cache["cache_is_writable"] = False
    assert "FASTBATCH_CACHE_DIR" in refused(capsys, "warmup")


def test_the_command_line_starts_without_what_only_some_commands_need():
    heavy = "{'numba', 'scipy', 'tqdm', 'sklearn'}"
    code = f"import sys, fastbatch.commands; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_verification_prints_the_worst_of_each_kernel(capsys):
    assert main(["verify", "--backend", "reference"]) == 0
    header, *rows, summary = capsys.readouterr().out.splitlines()
    assert header.split() == ["kernel", "dtype", "error", "worst", "case"]
    assert len(rows) == 40
    assert "all within their bounds" in summary


def test_a_wrong_kernel_is_reported_with_status_1(monkeypatch, capsys):
    results = [Check("outputs", "float32", "a", 0.5), Check("losses", "float32", "b", np.inf)]
    monkeypatch.setattr(commands.verify, "checks", lambda backend: iter(results))
    assert main(["verify"]) == 1
    out = capsys.readouterr().out
    assert re.search(r"losses .* inf  b  WRONG", out)
    assert out.endswith("wrong are losses (float32)\n")
