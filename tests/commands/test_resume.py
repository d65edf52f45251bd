"""Runs that are interrupted, killed or ended early, and go on to the same bits."""

import errno
import signal
import subprocess
import sys

import numpy as np
import pytest
from calling import refused, status, write

import fastbatch as fb
from fastbatch.callbacks import read_log
from fastbatch.commands import main
from fastbatch.commands.stop_signals import StopSignals

RUN = ["--backend", "reference", "--sampler", "poisson", "--lr", "0.003", "--metrics", "log_loss"]


def train(*argv):
    assert main(["train", *map(str, argv)]) == 0


def same(path, expected):
    """Hold a model against another, but for times and the files that it names."""
    found, wanted = fb.Trainer.load(path), fb.Trainer.load(expected)
    assert np.array_equal(found.theta, wanted.theta)
    assert np.array_equal(found.slots, wanted.slots)
    assert (found.step, found.epoch) == (wanted.step, wanted.epoch)
    numbers = "epoch", "loss", "validation_loss", "validation_metric", "metrics"
    for name in numbers:
        histories = found.history, wanted.history
        assert [getattr(r, name) for r in histories[0]] == [getattr(r, name) for r in histories[1]]


def started(*argv, until):
    """A process that trains, and has just done so many epochs."""
    command = "from fastbatch.commands import main; raise SystemExit(main())"
    process = subprocess.Popen(
        [sys.executable, "-c", command, "train", *map(str, argv)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    while f"epoch {until}/" not in process.stdout.readline().replace("  ", " "):
        assert process.poll() is None, process.stderr.read()
    return process


@pytest.mark.parametrize("sent", ["SIGKILL", "SIGINT"])
def test_a_run_that_was_ended_from_outside_goes_on_to_the_same_bits(sent, tmp_path, capsys):
    model, log, whole = tmp_path / "model.safetensors", tmp_path / "log.csv", tmp_path / "whole"
    files = ["--output", model, "--log", log, "--checkpoint-every", "3"]
    run = ["iris", *RUN, "--epochs", "120"]
    process = started(*run, *files, until=20)
    process.send_signal(getattr(signal, sent))
    out, err = process.communicate(timeout=60)
    if sent != "SIGKILL":
        assert process.returncode == 130
        assert err == "fastbatch train: interrupted\n"
        assert out.endswith(f"saved to {model}\n")
    before = fb.Trainer.load(model).epoch
    assert 18 <= before < 120
    train("--resume", "--output", model)
    assert f"resuming {model} after {before} epochs" in capsys.readouterr().out
    train(*run, "--output", whole)
    same(model, whole)
    assert [record.epoch for record in read_log(log)] == list(range(1, 121))


def test_a_run_that_ran_out_of_time_goes_on_to_the_same_bits(tmp_path):
    model, whole = tmp_path / "model.safetensors", tmp_path / "whole"
    train("digits", *RUN, "--epochs", "4", "--time-limit", "0.02", "--output", model)
    stopped = fb.Trainer.load(model)
    assert 0 < stopped.step < 4 * 51
    train("--resume", "--time-limit", "1000", "--output", model)
    train("digits", *RUN, "--epochs", "4", "--output", whole)
    same(model, whole)


def test_epochs_count_those_before(tmp_path, capsys):
    model, whole = tmp_path / "model.safetensors", tmp_path / "whole"
    train("wine", *RUN, "--epochs", "3", "--output", model)
    train("--resume", "--output", model, "--epochs", "7")
    train("wine", *RUN, "--epochs", "7", "--output", whole)
    same(model, whole)
    options = tmp_path / "model.safetensors.toml"
    before = model.read_bytes(), options.read_bytes()
    capsys.readouterr()
    train("--resume", "--output", model, "--epochs", "1")
    out = capsys.readouterr().out
    assert "nothing left to train: 7 epochs are done" in out
    assert "saved" not in out
    assert (model.read_bytes(), options.read_bytes()) == before
    same(model, whole)


@pytest.mark.parametrize("first", [2, 3, 5])
def test_patience_survives_an_interruption(first, tmp_path, capsys):
    run = ["wine", "--backend", "reference", "--lr", "0.01", "--patience", "4"]
    train(*run, "--epochs", "500", "--output", tmp_path / "whole")
    epochs = fb.Trainer.load(tmp_path / "whole").epoch
    assert first < epochs < 500
    model = tmp_path / "model.safetensors"
    train(*run, "--epochs", first, "--output", model)
    train("--resume", "--epochs", "500", "--output", model)
    same(model, tmp_path / "whole")
    same(tmp_path / "model.best.safetensors", tmp_path / "whole.best")
    capsys.readouterr()
    train("--resume", "--output", model)
    assert f"stopped after {epochs} of 500 epochs" in capsys.readouterr().out
    same(model, tmp_path / "whole")


def test_weights_and_penalty_are_those_of_the_run(tmp_path):
    model, whole = tmp_path / "model.safetensors", tmp_path / "whole"
    table = write(tmp_path / "data.csv", a=range(40), b=[0.5, 1.5] * 20, w=[0, 1, 2, 3] * 10)
    run = [table, "--target", "b", *RUN[:6], "--weight-column", "w", "--l2", "0.5"]
    train(*run, "--epochs", "2", "--output", model)
    train("--resume", "--epochs", "5", "--output", model)
    train(*run, "--epochs", "5", "--output", whole)
    same(model, whole)


def test_resuming_nothing_begins(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train("iris", *RUN, "--epochs", "2", "--output", model, "--resume")
    assert f"nothing saved at {model} so far: training begins\n" in capsys.readouterr().out
    assert fb.Trainer.load(model).epoch == 2


def test_resuming_needs_a_model_to_go_on_with(tmp_path, capsys):
    assert "--output, which is missing" in refused(capsys, "train", "iris", "--resume")
    model = tmp_path / "model"
    fb.Trainer(fb.Network([fb.Dense(1)], 4, "huber", backend="reference")).save(model)
    line = refused(capsys, "train", "iris", "--resume", "--output", model)
    assert "was not saved by a run that can be resumed" in line


@pytest.mark.parametrize(
    ("option", "message"),
    [
        (["--lr", "0.5"], "--lr is 0.5, but was 0.003 in the run to be resumed"),
        (["--hidden", "3"], "--hidden is [3], but was [64, 64] in the run"),
        (["--clip", "1"], "--clip is 1.0, but was not given in the run"),
    ],
)
def test_options_that_decide_about_the_result_stay(option, message, tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train("iris", *RUN, "--epochs", "2", "--output", model)
    before = model.read_bytes()
    assert message in refused(capsys, "train", "--resume", "--output", model, *option)
    assert model.read_bytes() == before
    train("--resume", "--output", model, "--lr", "0.003", "--epochs", "3")  # as it was


def test_another_backend_may_go_on(tmp_path):
    model = tmp_path / "model.safetensors"
    train("iris", *RUN, "--epochs", "2", "--output", model)
    train("--resume", "--output", model, "--backend", "cpu", "--epochs", "3")
    assert (trainer := fb.Trainer.load(model)).epoch == 3
    assert trainer.network.backend == "cpu"


def test_other_data_are_refused(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    table = write(tmp_path / "data.csv", a=range(20), b=[0.5, 1.5] * 10)
    train(table, "--target", "b", *RUN[:2], "--epochs", "2", "--output", model)
    elsewhere = tmp_path / "elsewhere.csv"
    table.rename(elsewhere)
    train(elsewhere, "--resume", "--output", model, "--epochs", "3")
    write(elsewhere, a=range(20), b=[0.5, 1.25] * 10)
    line = refused(capsys, "train", "--resume", "--output", model, "--epochs", "4")
    assert f"{elsewhere} is not what {model} was trained on so far" in line


@pytest.mark.parametrize("first", [signal.SIGINT, signal.SIGTERM])
def test_a_second_ctrl_c_is_not_held_back(first):
    with StopSignals() as signals:
        assert not signals.between_steps(None)
        signal.raise_signal(first)
        assert signals.between_steps(None)
        assert signals(None, None)
        signal.raise_signal(signal.SIGTERM)  # would raise amid a step
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("epoch", "expected"), [(3, 130), (5, 0)])
def test_a_signal_in_the_last_epoch_finds_a_run_that_is_done(
    epoch, expected, monkeypatch, tmp_path
):
    def stopping(log, trainer, record):
        if record.epoch == epoch:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(fb.callbacks.CSVLog, "__call__", stopping)
    model = tmp_path / "model.safetensors"
    train = ["train", "iris", *RUN, "--epochs", "5", "--log", tmp_path / "log.csv"]
    assert status(*train, "--output", model) == expected
    assert fb.Trainer.load(model).epoch == epoch


def test_signals_that_are_ignored_stay_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as signals:
            signal.raise_signal(signal.SIGINT)
        assert not signals.received
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.ENOENT])
def test_a_log_that_cannot_be_written_does_not_lose_the_run(error, monkeypatch, tmp_path, capsys):
    def full(log, trainer, record):
        if record.epoch == 3:
            raise OSError(error, "so it is", str(log.path))

    monkeypatch.setattr(fb.callbacks.CSVLog, "__call__", full)
    model, log = tmp_path / "model.safetensors", tmp_path / "log.csv"
    train = ["train", "iris", *RUN, "--epochs", "5", "--log", log, "--output", model]
    line = refused(capsys, *train, expected=1)
    assert line == f"fastbatch train: {log}: so it is"
    assert fb.Trainer.load(model).epoch == 3


def test_epochs_that_were_done_before_an_error_are_saved(tmp_path, capsys):
    model, log = tmp_path / "model.safetensors", tmp_path / "log.csv"
    train("iris", *RUN, "--epochs", 2, "--output", model, "--log", log)
    resume = ["train", "--resume", "--output", str(model), "--epochs", "9", "--metrics", "auc"]
    assert main(resume) == 1  # the log has other columns
    assert "columns" in capsys.readouterr().err
    assert fb.Trainer.load(model).epoch == 3
