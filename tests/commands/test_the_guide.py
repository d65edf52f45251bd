"""The commands of docs/commands.md run, one after the other."""

import shlex
from pathlib import Path

import numpy as np
from calling import status, write

import fastbatch as fb

GUIDE = Path(__file__).parents[2] / "docs" / "commands.md"


def test_the_commands_of_the_guide_run(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    kind = rng.integers(2, size=100)
    write(
        tmp_path / "pets.csv",
        kind=np.array(["cat", "dog"])[kind],
        town=rng.choice([100, 200], 100),
        age=rng.integers(1, 20, 100),
        weight=4 + 18 * kind + rng.normal(size=100),
    )
    monkeypatch.chdir(tmp_path)
    text = GUIDE.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line.startswith("    fastbatch ")]
    assert len(lines) == 11
    for line in lines:
        assert status(*shlex.split(line)[1:]) == 0, (line, capsys.readouterr().err)
    for name in ("pets.best.safetensors", "pets.safetensors.toml", "log.csv", "curves.png"):
        assert (tmp_path / name).exists()
        assert f"`{name}`" in text
    for model, log in (("pets", "log.csv"), ("second", "second.csv")):  # each run has its own
        history = fb.Trainer.load(tmp_path / f"{model}.safetensors").history
        assert fb.callbacks.read_log(tmp_path / log) == history
    assert len((tmp_path / "weights.csv").read_text().splitlines()) == 101
