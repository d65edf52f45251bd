"""TOML files of options: what the command line would have understood, and the way back."""

import tomllib

import pytest
from calling import QUICK, refused
from hypothesis import given
from hypothesis import strategies as st

import fastbatch as fb
from fastbatch.commands import configuration, main
from fastbatch.commands.options import DEFAULTS, configure


def test_the_file_beside_a_model_trains_it_again(tmp_path):
    first, second = tmp_path / "first.safetensors", tmp_path / "second.safetensors"
    options = ["--hidden", "--sampler", "poisson", "--metrics", "log_loss", "auc", "--seed", "7"]
    assert main(["train", "iris", *QUICK, *options, "--output", str(first)]) == 0
    config = tmp_path / "first.safetensors.toml"
    assert main(["train", "--config", str(config), "--output", str(second)]) == 0
    assert fb.Trainer.load(second).theta.tolist() == fb.Trainer.load(first).theta.tolist()
    again = (tmp_path / "second.safetensors.toml").read_text()
    assert again.replace("second", "first") == config.read_text()


def test_the_command_line_wins(tmp_path):
    config, model = tmp_path / "run.toml", tmp_path / "model.safetensors"
    config.write_text(
        f'data = "iris"\nbackend = "reference"\nepochs = 2\nhidden = [5, 6]\nlr = 1\n'
        f'output = "{model}"\n'
    )
    assert main(["train", "--config", str(config), "--epochs", "3", "--hidden", "7"]) == 0
    trainer = fb.Trainer.load(model)
    assert trainer.epoch == 3
    assert trainer.network.layers[0] == fb.Dense(7, "relu")
    assert trainer.optimizer.lr == 1.0
    assert main(["train", "wine", "--config", str(config)]) == 0
    assert fb.Trainer.load(model).network.inputs == 13


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch = 3", "unknown option 'epoch': did you mean 'epochs'?"),
        ("batch_size = 3", "unknown option 'batch_size': did you mean 'batch-size'?"),
        ('config = "other.toml"', "unknown option 'config'"),
        ('epochs = "many"', "argument --epochs: invalid int value: 'many'"),
        ('epochs = "3"', "epochs must be a number, without quotes, found '3'"),
        ('hidden = [8, "4"]', "hidden must be a number, without quotes, found '4'"),
        ("epochs = 2.5", "argument --epochs: invalid int value: '2.5'"),
        ('activation = "rleu"', "argument --activation: invalid choice: 'rleu'"),
        ("epochs = [1, 2]", "epochs must be a single value, found [1, 2]"),
        ("epochs = true", "epochs must be a value, found True"),
        ("resume = 1", "resume must be true or false, found 1"),
        ("data = 2026-01-01", "data must hold text or numbers"),
        ("[train]\nepochs = 3", "unknown option 'train'"),
        ("epochs: 3", "at line 1"),
    ],
)
def test_a_file_that_is_not_right_says_where(text, message, tmp_path, capsys):
    config = tmp_path / "run.toml"
    config.write_text(text)
    line = refused(capsys, "train", "iris", "--config", config)
    assert line.startswith(f"fastbatch train: {config}: ")
    assert message in line


def test_a_file_that_is_not_text_or_not_there_says_so(tmp_path, capsys):
    config = tmp_path / "run.toml"
    assert f"{config}: No such file" in refused(capsys, "train", "--config", config)
    assert f"{tmp_path} is a folder" in refused(capsys, "train", "--config", tmp_path)
    config.write_bytes(b"\xff\xfe")
    assert f"{config}: 'utf-8' codec" in refused(capsys, "train", "--config", config)


def test_what_a_file_denies_is_not_what_the_run_had(tmp_path, capsys):
    config, model = tmp_path / "run.toml", tmp_path / "model.safetensors"
    assert main(["train", "iris", *QUICK, "--impute", "--output", str(model)]) == 0
    config.write_text(f'impute = false\nresume = true\noutput = "{model}"\n')
    line = refused(capsys, "train", "--config", config)
    assert "--impute is False, but was True in the run to be resumed" in line


def test_a_run_that_does_not_begin_leaves_the_old_model_and_its_options(tmp_path, capsys):
    model, folder = tmp_path / "model.safetensors", tmp_path / "log.csv"
    folder.mkdir()
    assert main(["train", "iris", *QUICK, "--output", str(model)]) == 0
    options = tmp_path / "model.safetensors.toml"
    before = model.read_bytes(), options.read_bytes()
    train = ["train", "iris", *QUICK, "--lr", "0.5", "--output", model]
    refused(capsys, *train, "--metrics", "acuracy")
    refused(capsys, *train, "--log", folder, expected=1)
    assert (model.read_bytes(), options.read_bytes()) == before


text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "data": text,
            "target": text,
            "categorical": st.lists(text),
            "impute": st.booleans(),
            "hidden": st.lists(st.integers()),
            "lr": st.floats(allow_nan=False, allow_infinity=False),
            "seed": st.integers(),
            "output": text,
        },
    )
)
def test_options_survive_toml(tmp_path_factory, options):
    path = tmp_path_factory.mktemp("toml") / "run.toml"
    configuration.write(path, options)
    assert tomllib.loads(path.read_text(encoding="utf-8")).keys() == options.keys()
    assert configuration.read(str(path), configure, DEFAULTS) == options
