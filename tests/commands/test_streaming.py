"""``--stream``: files larger than memory, as `fastbatch train` and `predict` take them."""

import csv
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from calling import QUICK, refused, rows, write
from pyarrow import parquet
from pyarrow.csv import read_csv

import fastbatch as fb
from fastbatch.commands import examples, kept, main, predict
from fastbatch.data import CSVSource, PreparedSource, Stream, hold_out

ROWS = 2500  # more than two blocks of lines


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pets whose weight follows from what they are, as CSV and as Parquet."""
    folder = tmp_path_factory.mktemp("streamed")
    rng = np.random.default_rng(0)
    kind = rng.integers(3, size=ROWS)
    write(
        folder / "pets.csv",
        kind=np.array(["cat", "dog", "emu"])[kind],
        age=rng.integers(1, 20, ROWS),
        weight=4.0 + 10 * kind + rng.normal(size=ROWS),
        count=rng.integers(0, 3, ROWS),
    )
    pets = read_csv(folder / "pets.csv")
    parquet.write_table(pets, folder / "pets.parquet", row_group_size=300)
    return folder


def train(*argv):
    assert main(["train", *map(str, argv), "--stream"]) == 0


@pytest.mark.parametrize(
    ("name", "sampler"), [("pets.csv", "shuffle"), ("pets.parquet", "sequential")]
)
def test_a_streamed_training_is_the_one_that_python_does(name, sampler, folder, tmp_path, capsys):
    model, data = tmp_path / "model.safetensors", folder / name
    options = ["--target", "weight", "--weight-column", "count", "--seed", 3, "--batch-size", 50]
    train(data, *options, *QUICK, "--validation", 0.2, "--sampler", sampler, "--output", model)
    assert capsys.readouterr().out.startswith(
        f"{data}: 2,500 examples, 2 features (1 of text), regression, weighted by count; "
        "500 held out for validation\nnetwork 4-64-64-1"
    )
    found = fb.Trainer.load(model)
    assert found.history[-1].validation_metric > 0.9
    columns = {"target": "weight", "sample_weight": "count", "categorical": ["kind"]}
    source = (fb.data.ParquetSource if name.endswith("t") else CSVSource)(data, **columns)
    prepared = PreparedSource(source)
    assert kept.preparation(found) == prepared.preparation
    others, held_out = hold_out(prepared, 500, seed=3)
    trainer = fb.Trainer(found.network, batch_size=50, seed=3)
    stream = Stream(others, 50, seed=3, shuffle=sampler == "shuffle")
    trainer.fit(batches=stream, epochs=5, validation=held_out)
    np.testing.assert_array_equal(found.theta, trainer.theta)
    assert found.history[-1].validation_loss == trainer.history[-1].validation_loss


def test_no_more_is_held_out_than_memory_holds(folder, monkeypatch, capsys):
    monkeypatch.setattr(examples, "MOST_HELD_OUT", 40)
    train(folder / "pets.csv", "--target", "weight", "--backend", "reference", "--epochs", 1)
    assert " 8 held out for validation" in capsys.readouterr().out  # of five inputs


def test_a_streamed_run_goes_on_to_the_same_bits(folder, tmp_path, capsys):
    model, whole = tmp_path / "model.safetensors", tmp_path / "whole.safetensors"
    run = [folder / "pets.parquet", "--target", "kind", "--patience", 9]
    train(*run, "--epochs", 2, "--output", model)
    assert main(["train", "--resume", "--epochs", "4", "--output", str(model)]) == 0
    assert "3 classes" in capsys.readouterr().out
    train(*run, "--epochs", 4, "--output", whole)
    found, expected = fb.Trainer.load(model), fb.Trainer.load(whole)
    np.testing.assert_array_equal(found.theta, expected.theta)
    assert [r.validation_loss for r in found.history] == [
        r.validation_loss for r in expected.history
    ]


def test_other_data_are_refused_when_a_run_goes_on(tmp_path, capsys):
    model, data = tmp_path / "model.safetensors", tmp_path / "data.csv"
    write(data, a=range(20), b=[0.5, 1.5] * 10)
    train(data, "--target", "b", *QUICK, "--output", model)
    write(data, a=range(20), b=[0.5, 1.25] * 10)
    line = refused(capsys, "train", "--resume", "--output", model, "--epochs", "9")
    assert f"{data} is not what {model} was trained on so far" in line


@pytest.mark.parametrize("target", ["weight", "kind"])
@pytest.mark.parametrize("name", ["pets.csv", "pets.parquet"])
def test_predictions_by_blocks_are_those_of_the_whole(target, name, folder, tmp_path, monkeypatch):
    model = tmp_path / "model.safetensors"
    train(folder / "pets.csv", "--target", target, "--epochs", 2, "--output", model)
    monkeypatch.setattr(predict, "_BLOCK", 1850)  # some hundred rows
    answers = {}
    for options in ((), ("--stream",)):
        for suffix in (".csv", ".parquet"):
            path = str(tmp_path / f"answers{suffix}")
            asked = ["predict", str(model), str(folder / name), "--output", path]
            assert main([*asked, *options]) == 0
            if suffix == ".csv":
                answers[options] = rows(tmp_path / "answers.csv")
            else:
                answers[options] += (parquet.read_table(path),)
    assert answers[()] == answers["--stream",]
    assert len(answers[()][1]) == ROWS


def test_a_model_without_names_predicts_by_blocks(tmp_path, monkeypatch, capsys):
    table, model = write(tmp_path / "data.csv", a=range(9), b=range(9)), tmp_path / "model"
    fb.Trainer(fb.Network([fb.Dense(2)], 2, "cross_entropy", backend="reference")).save(model)
    monkeypatch.setattr(predict, "_BLOCK", 8)
    answers = []
    for options in ([], ["--stream"]):
        assert main(["predict", str(model), str(table), *options]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert len(list(csv.reader(answers[0].splitlines()))) == 10
    write(table, a=[1], b=[2], c=[3])
    line = refused(capsys, "predict", model, table, "--stream")
    assert f"{table} has 3 columns, but the network has 2 inputs" in line


def test_what_is_wrong_in_a_later_block_leaves_the_old_answers_alone(
    folder, tmp_path, monkeypatch, capsys
):
    model, answers, data = (tmp_path / name for name in ("model", "answers.csv", "data.csv"))
    train(folder / "pets.csv", "--target", "weight", *QUICK, "--output", model)
    monkeypatch.setattr(predict, "_BLOCK", 40)
    answers.write_text("the old ones")
    before = {*tmp_path.iterdir(), data}
    asked = ["predict", model, data, "--stream", "--output", answers]
    for age, message in (
        ("", "row 17 of the source has no value in column 'age'"),
        ("old", "column 'age' has 'old', expected a number"),
        ("inf", "rows 16 to 20 of the source: Input X contains infinity"),
    ):
        write(data, kind=["cat"] * 20, count=[1] * 20, age=[*range(17), age, 3, 4])
        assert message in refused(capsys, *asked)
        assert answers.read_text() == "the old ones"
        assert set(tmp_path.iterdir()) == before


def test_a_damaged_file_is_named_and_not_the_one_to_be_written(
    folder, tmp_path, monkeypatch, capsys
):
    model, data, answers = (tmp_path / name for name in ("model", "data.parquet", "answers.csv"))
    train(folder / "pets.csv", "--target", "weight", *QUICK, "--output", model)
    kinds, numbers = pa.array(["cat"] * 40), pa.array(np.arange(40.0))
    table = pa.table({"kind": kinds, "count": numbers, "age": numbers})
    parquet.write_table(table, data, row_group_size=20)
    last = parquet.read_metadata(data).row_group(1).column(2)
    start = last.dictionary_page_offset
    content = bytearray(data.read_bytes())
    content[start : start + last.total_compressed_size] = bytes(last.total_compressed_size)
    data.write_bytes(content)
    monkeypatch.setattr(predict, "_BLOCK", 40)
    line = refused(capsys, "predict", model, data, "--stream", "--output", answers)
    assert line.startswith(f"fastbatch predict: {data}: ")
    assert not answers.exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("iris", "--stream reads .csv and .parquet files, found iris: leave it out"),
        ("nothing.csv", "nothing.csv: no such file"),
        ("t.csv", "say which column to predict, --target 'y'"),
        ("t.csv --target y --sampler poisson", "--sampler poisson rests on all examples"),
        ("t.csv --target y --monitor losses", "--monitor losses rests on all examples"),
        ("t.csv --target y --validation 0", "leaves one part empty"),
        ("t.csv --target y", "all targets are 3, expected several classes"),
        ("t.csv --target x --sampler sequential", "row 1 of the source has no target"),
    ],
)
def test_what_does_not_go_with_a_stream_is_refused(options, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "t.csv", x=[0.5, "", *range(18)], y=[3] * 20)
    if options == "t.csv --target y":
        write(tmp_path / "t.csv", x=range(20), y=[3] * 20)
    line = refused(capsys, "train", *options.split(), "--stream", "--output", "model")
    assert message in line
    assert not (tmp_path / "model").exists()


MEMORY = """
from pathlib import Path
from fastbatch.commands import examples, main, predict
from fastbatch.data import stream

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) >> 10  # MB

def run(data):
    train = ["train", data, "--target", "y", "--epochs", "1", "--hidden", "--batch-size", "500"]
    assert main([*train, "--stream", "--output", "model"]) == 0
    assert main(["predict", "model", data, "--stream", "--output", "answers.parquet"]) == 0

stream._BUFFER = examples.MOST_HELD_OUT = predict._BLOCK = 1 << 18
for suffix in (".csv", ".parquet"):
    run("small" + suffix)  # all that is loaded is loaded
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
before = resident("VmRSS")
for suffix in (".csv", ".parquet"):
    run("large" + suffix)
print(resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts resident memory")
def test_inputs_of_96_mb_take_less_than_40(tmp_path):
    """In float64, as they are prepared; trained on, held out, predicted and written."""
    rng = np.random.default_rng(0)
    for name, count in ("small", 3000), ("large", 40_000):
        columns = {"x": range(count), "kind": [f"n{k % 300}" for k in range(count)]}
        write(tmp_path / f"{name}.csv", **columns, y=rng.normal(size=count))
        table = read_csv(tmp_path / f"{name}.csv")
        parquet.write_table(table, tmp_path / f"{name}.parquet", row_group_size=1000)
    run = [sys.executable, "-c", MEMORY]
    output = subprocess.run(run, cwd=tmp_path, check=True, capture_output=True, text=True).stdout
    assert int(output.splitlines()[-1]) < 40
    assert parquet.read_metadata(tmp_path / "answers.parquet").num_rows == 40_000
