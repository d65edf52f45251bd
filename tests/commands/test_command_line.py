"""The command line as such: its help, and the exit status that tells scripts how it went."""

import argparse
import os
import shlex
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path

import pytest
from calling import QUICK, refused, status

import fastbatch as fb
from fastbatch import commands
from fastbatch.claims import Claim
from fastbatch.commands import explain, main, verify
from fastbatch.verification import Check

COMMAND = "from fastbatch.commands import main; raise SystemExit(main())"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "fastbatch: the following arguments are required: command"),
        (["fly"], "invalid choice: 'fly'"),
        (["train"], "say what to train on"),
        (["train", "iris", "--epochs", "many"], "invalid int value: 'many'"),
        (["train", "iris", "--activation", "rleu"], "invalid choice: 'rleu'"),
        (["train", "nothing"], "fastbatch train: no data set 'nothing'"),
        (["train", "nothing.csv"], "nothing.csv: no such file"),
        (["train", "iris", "--epochs", "0"], "--epochs must be an integer in [1, inf), found 0"),
        (["train", "iris", "--hidden", "0"], "--hidden must be an integer in [1, inf), found 0"),
        (["train", "iris", "--batch-size", "-1"], "--batch-size must be an integer"),
        (["train", "iris", "--lr", "-1"], "--lr must be a finite number"),
        (["train", "iris", "--l2", "-1"], "--l2 must be a finite number"),
        (["train", "iris", "--dropout", "1"], "--dropout must be a finite number in [0, 1)"),
        (["train", "iris", "--target", "kind"], "iris has targets of its own and no weights"),
        (["train", "iris", "--weight-column", "w"], "iris has targets of its own and no weights"),
        (["train", "iris", "--seed", "-1"], "--seed must be an integer"),
        (["train", "iris", "--sampler", "poison"], "invalid choice: 'poison'"),
        (["train", "iris", "--clip", "-1"], "max_norm must be positive, found -1.0"),
        (["train", "iris", "--noise", "1"], "noise needs clip"),
        (["train", "iris", "--threads", "0"], "--threads must be an integer in [1, inf), found 0"),
        (["train", "iris", "--validation", "1"], "leaves one part empty"),
        (["train", "iris", "--output", "nowhere/model"], "no such folder"),
        (["train", "iris", "--patience", "0"], "--patience must be an integer in [1, inf)"),
        (["train", "iris", "--time-limit", "-1"], "--time-limit must be a finite number"),
        (["train", "iris", "--checkpoint-every", "2"], "--output, which is missing"),
        (["train", "iris", "--log", "log.txt"], "a name that ends with .csv or .jsonl"),
        (["train", "iris", "--plot", "curves.pdf"], "a name that ends with .png or .svg"),
        (["train", "iris", *QUICK, "--metrics", "acuracy"], "did you mean 'accuracy'?"),
        (["train", "iris", "--categorical", "colour"], "iris has no column 'colour'"),
        (["predict", "nothing", "iris"], "fastbatch predict: nothing: No such file"),
        (["predict", "pyproject.toml", "iris"], "damaged or not a checkpoint"),
    ],
)
def test_a_mistake_takes_one_line_and_status_2(capsys, argv, message):
    assert message in refused(capsys, *argv)


def test_an_unknown_metric_is_refused_before_anything_is_said(capsys):
    assert status("train", "iris", *QUICK, "--metrics", "r2") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "r2 is no metric of a network with loss 'cross_entropy'" in err


def test_what_the_machine_refuses_has_status_1(tmp_path, capsys):
    line = refused(capsys, "train", "iris", *QUICK, "--output", tmp_path, expected=1)
    assert line.startswith(f"fastbatch train: {tmp_path}: is a folder")
    assert "is a folder" in refused(capsys, "predict", tmp_path, "iris", expected=1)


def test_a_message_is_never_empty(monkeypatch, capsys):
    def exhausted(*_, **__):
        raise MemoryError

    monkeypatch.setattr("fastbatch.datasets.read", exhausted)
    assert refused(capsys, "train", "iris", expected=1) == "fastbatch train: MemoryError"


def test_divergence_has_status_3_and_saves_the_last_good_parameters(tmp_path, capsys):
    model = tmp_path / "model.safetensors"
    train = ["train", "iris", *QUICK, "--optimizer", "sgd", "--lr", "1e30", "--output", model]
    assert status(*train) == 3
    out, err = capsys.readouterr()
    assert err.startswith("fastbatch train: training diverged: the loss of step 1 is not finite")
    assert err.count("\n") == 1
    assert out.endswith(f"saved to {model}\n")
    trainer = fb.Trainer.load(model)
    assert trainer.theta.tolist() == trainer.network.init(0).tolist()


def test_a_missing_package_takes_one_line(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert "pip install 'fastbatch[demo]'" in refused(capsys, "train", "iris")


def test_a_reader_who_has_seen_enough_is_no_error(tmp_path):
    model = tmp_path / "model.safetensors"
    assert main(["train", "digits", *QUICK, "--output", str(model)]) == 0
    process = subprocess.Popen(
        [sys.executable, "-c", COMMAND, "predict", str(model), "digits"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    assert process.wait() == 0
    assert process.stderr.read() == ""
    process.stderr.close()


def unread(*argv):
    """The exit status of a command to whose output nobody listens any more."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stdout, redirect_stdout(stdout):
        return status(*argv)


def test_a_training_goes_on_if_nobody_reads_what_it_says(tmp_path):
    model = tmp_path / "model.safetensors"
    assert unread("train", "iris", *QUICK, "--output", model) == 0
    assert fb.Trainer.load(model).epoch == 5


def test_a_short_answer_that_nobody_reads_is_no_error(tmp_path):
    trainer = fb.Trainer(fb.Network([fb.Dense(1)], 1, "huber", backend="reference"))
    trainer.fit([[1.0]], [1.0])
    trainer.save(tmp_path / "model")
    assert unread("history", tmp_path / "model") == 0


def test_what_nobody_reads_does_not_hide_that_something_is_wrong(monkeypatch):
    results = [Check(f"kernel {i}", "float32", "a", 2.0) for i in range(400)]  # more than a buffer
    monkeypatch.setattr(verify, "checks", lambda backend: iter(results))
    assert unread("verify") == 1
    claims = [
        lambda holds=holds: Claim("Title", "Statement.", (), holds, None) for holds in (True, False)
    ]
    monkeypatch.setattr(explain, "CLAIMS", dict(enumerate(claims, start=1)))
    assert unread("explain", "1", "2") == 1


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("train data.csv --output data.csv", "--output data.csv is the same file as the data"),
        ("train data.csv --output link.csv", "--output link.csv is the same file as the data"),
        ("train data.csv --log ./data.csv", "--log ./data.csv is the same file as the data"),
        ("train iris --config run.toml --output run.toml", "is the same file as --config"),
        ("train iris --output curves.svg --plot curves.svg", "is the same file as --output"),
        (
            "train iris --output a.svg --patience 2 --plot a.best.svg",
            "--plot a.best.svg is the same file as the best model",
        ),
        ("predict model data.csv --output data.csv", "is the same file as the data"),
        ("predict data.csv iris --output data.csv", "is the same file as the model"),
        ("inspect model data.csv --output data.csv", "is the same file as the data"),
    ],
)
def test_nothing_is_written_over_what_is_read(line, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("data.csv").write_text("a,b\n1,2\n")
    Path("link.csv").symlink_to("data.csv")
    Path("run.toml").touch()
    assert message in refused(capsys, *line.split())
    assert Path("data.csv").read_text() == "a,b\n1,2\n"


def test_the_command_line_starts_without_what_only_some_commands_need():
    heavy = "{'argcomplete', 'numba', 'pyarrow', 'scipy', 'tqdm', 'sklearn'}"
    code = f"import sys, fastbatch.commands; assert not {heavy} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


NAMES = [command.__name__.rpartition(".")[2] for command in commands.COMMANDS]


@pytest.mark.parametrize("name", NAMES)
def test_the_help_of_each_command_has_examples(name, capsys):
    assert status(name, "--help") == 0
    lines = capsys.readouterr().out.split("examples:\n")[1].splitlines()
    examples = lines[: lines.index("")] if "" in lines else lines
    assert len(examples) in (2, 3)
    parser = commands._parser()
    for example in examples:
        assert example.startswith("  ")
        words = shlex.split(example)
        while "=" in words[0]:
            words.pop(0)
        assert words[:2] == ["fastbatch", name]
        assert isinstance(parser.parse_args(words[1:]), argparse.Namespace)


def test_a_shell_can_complete_a_line(tmp_path):
    pytest.importorskip("argcomplete")
    found = tmp_path / "found"
    line = "fastbatch train iris --check"
    asked = {"_ARGCOMPLETE": "1", "_ARGCOMPLETE_STDOUT_FILENAME": str(found)}
    where = {"COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
    environment = os.environ | asked | where
    subprocess.run([sys.executable, "-c", COMMAND], env=environment, check=True)
    assert found.read_text().strip() == "--checkpoint-every"
