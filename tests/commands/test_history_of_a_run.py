"""``fastbatch history``: the table, from wherever a history is kept."""

import pytest
from calling import QUICK, refused

import fastbatch as fb
from fastbatch.commands import main


@pytest.mark.parametrize("name", ["model.safetensors", "log.csv", "log.jsonl"])
def test_a_history_is_a_table_of_epochs(name, tmp_path, capsys):
    model, picture = tmp_path / "model.safetensors", tmp_path / "curves.png"
    train = ["train", "iris", *QUICK, "--metrics", "log_loss", "--monitor", "noise_scale"]
    assert main([*train, "--output", str(model), "--log", str(tmp_path / "log.csv")]) == 0
    assert main([*train, "--log", str(tmp_path / "log.jsonl")]) == 0
    capsys.readouterr()
    assert main(["history", str(tmp_path / name), "--plot", str(picture)]) == 0
    header, *lines, drawn = capsys.readouterr().out.splitlines()
    columns = "epoch step loss validation loss accuracy log_loss noise scale seconds examples/s"
    assert " ".join(header.split()) == columns
    records = fb.Trainer.load(model).history
    assert len(lines) == 5
    for line, record in zip(lines, records, strict=True):
        numbers = record.epoch, record.step, record.loss, record.validation_loss
        numbers += record.validation_metric, record.metrics["log_loss"], record.noise_scale
        assert line.split()[:7] == [f"{number:.6g}" for number in numbers]
    assert drawn == f"drawn to {picture}"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_history_without_validation_has_fewer_columns(tmp_path, capsys):
    trainer = fb.Trainer(fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference"))
    trainer.fit([[1.0]], [1.0])
    trainer.save(tmp_path / "model")
    assert main(["history", str(tmp_path / "model")]) == 0
    assert capsys.readouterr().out.split()[:5] == ["epoch", "step", "loss", "seconds", "examples/s"]


def test_what_has_no_history_is_refused(tmp_path, capsys):
    model = tmp_path / "model"
    fb.Trainer(fb.Network([fb.Dense(1)], 1, "huber", backend="reference")).save(model)
    assert refused(capsys, "history", model).endswith("model has no finished epoch")
    assert "nothing: No such file" in refused(capsys, "history", "nothing")
    assert "damaged or not a checkpoint" in refused(capsys, "history", "pyproject.toml")
    (tmp_path / "log.csv").write_text("a,b\n1,2\n")
    line = refused(capsys, "history", tmp_path / "log.csv")
    assert line.endswith("is not a log, expected what fastbatch train --log has written")
    assert "expected a name that ends" in refused(capsys, "history", model, "--plot", "curves.pdf")
