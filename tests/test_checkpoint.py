"""A checkpoint is whole or refused, and training goes on from it bit for bit."""

import json
import os
import stat
import struct

import numpy as np
import pytest
from safetensors.numpy import save_file

import fastbatch as fb
from fastbatch import checkpoint, run
from fastbatch.replacement import replacement
from fastbatch.samplers import SAMPLERS

OPTIMIZERS = [
    fb.SGD(0.01),
    fb.SGD(fb.Exponential(0.01, 0.99), momentum=0.9, nesterov=True, weight_decay=0.1),
    fb.Adam(fb.LinearWarmup(10, fb.Cosine(0.01, steps=50, final=1e-5))),
    fb.AdamW(fb.LinearWarmup(10, 0.01), weight_decay=0.3),
    fb.RMSprop(fb.StepDecay(0.001, every=4), momentum=0.5, centered=True),
    fb.Adagrad(fb.Constant(0.1), lr_decay=0.01),
    fb.SGLD(fb.PowerDecay(0.01, b=3), prior_precision=2.0, temperature=0.5),
]


@pytest.fixture
def trainer(classifier, classes):
    trainer = fb.Trainer(classifier, fb.Adam(0.01), batch_size=16, seed=2**64 - 1)
    trainer.fit(*classes, epochs=2, validation=classes)
    return trainer


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.safetensors"


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda optimizer: optimizer.name)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_loaded_and_trained_on_equals_uninterrupted(backend, classes, path, optimizer, dtype):
    layers = [fb.Dense(5, "gelu"), fb.Dense(3)]
    net = fb.Network(layers, 4, "cross_entropy", dtype, backend)
    expected = fb.Trainer(net, optimizer, batch_size=7, sampler="sequential")
    expected.fit(*classes, epochs=2)
    expected.save(path)
    loaded = fb.Trainer.load(path)
    assert loaded.network == net and loaded.optimizer == optimizer
    assert (loaded.batch_size, loaded.seed, loaded.sampler) == (7, 0, "sequential")
    assert loaded.history == expected.history
    for trainer in expected, loaded:
        trainer.fit(*classes, epochs=2)
    np.testing.assert_array_equal(loaded.theta, expected.theta)
    assert [r.loss for r in loaded.history] == [r.loss for r in expected.history]


def test_a_new_trainer_can_be_saved(classifier, classes, path):
    trainer = fb.Trainer(classifier)
    trainer.save(str(path))
    loaded = fb.Trainer.load(str(path))
    for each in trainer, loaded:
        each.fit(*classes)
    np.testing.assert_array_equal(loaded.theta, trainer.theta)


def test_what_is_not_a_number_in_history_survives(trainer, path):
    record = fb.EpochRecord(3, 18, float("nan"), float("inf"), -float("inf"), "r2", 1.0, 2.0)
    trainer.history.append(record)
    trainer.save(path)
    assert repr(fb.Trainer.load(path).history) == repr(trainer.history)


def test_extra_is_kept_whatever_its_keys_are_called(trainer, path):
    trainer.extra = {"type": "Dense", "classes": ["a", "b"], "scale": [0.5, None]}
    trainer.save(path)
    assert fb.Trainer.load(path).extra == trainer.extra


@pytest.mark.parametrize("extra", [{"a": 1, "b": np.ones(2)}, {"a": 1, ("b",): 2}])
def test_what_json_cannot_hold_is_named(trainer, path, extra):
    trainer.extra = extra
    with pytest.raises(TypeError, match=r"extra\[.*b.*\] must be what JSON can hold: "):
        trainer.save(path)
    assert not path.exists()


def test_a_function_of_the_users_own_must_be_given_again(classifier, classes, path):
    optimizer = fb.Adam(lambda step: 0.01)
    trainer = fb.Trainer(classifier, optimizer)
    trainer.fit(*classes)
    trainer.save(path)
    with pytest.raises(fb.CheckpointError, match=r"function of your own.*optimizer="):
        fb.Trainer.load(path)
    loaded = fb.Trainer.load(path, optimizer=optimizer)
    for each in trainer, loaded:
        each.fit(*classes)
    np.testing.assert_array_equal(loaded.theta, trainer.theta)


EVERYTHING = {
    "clip": fb.PerExampleClip([1.0, 0.5], per_layer=True),
    "noise": fb.GaussianNoise(0.1, seed=5),
    "l2": 0.5,
    "monitor": ["losses", "gradient_norms", "noise_scale"],
}


def by_norm(losses, norms):
    return np.nan_to_num(norms, nan=1.0) + 0.1


@pytest.mark.parametrize("sampler", [*SAMPLERS, by_norm])
@pytest.mark.parametrize("options", [{}, EVERYTHING], ids=["plain", "everything"])
@pytest.mark.parametrize("last", [5, 6, 8])
def test_stopped_amid_an_epoch_saved_and_loaded_it_goes_on_to_the_same_bits(
    backend, classes, path, monkeypatch, sampler, options, last
):
    monkeypatch.setattr(run, "SLICE_SECONDS", 0.0)

    def stopping(step):
        if step == last:
            raise KeyboardInterrupt
        return 0.1

    net = fb.Network([fb.Dense(5, "gelu"), fb.Dense(3)], 4, "cross_entropy", backend=backend)
    expected, trainer = (
        fb.Trainer(net, fb.SGD(lr), batch_size=16, seed=3, sampler=sampler, **options)
        for lr in (0.1, stopping)
    )
    expected.fit(*classes, epochs=3)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(*classes, epochs=3)
    trainer.save(path)
    loaded = fb.Trainer.load(path, optimizer=fb.SGD(0.1), sampler=sampler)
    trainer.optimizer = fb.SGD(0.1)
    for each in trainer, loaded:
        assert each.step == last
        each.fit(*classes, epochs=3 - last // 6)
        for name, value in vars(expected._state).items():
            np.testing.assert_array_equal(value, getattr(each._state, name), err_msg=name)
        for one, other in zip(each.history, expected.history, strict=True):
            assert (one.loss, one.noise_scale) == (other.loss, other.noise_scale)
            assert one.gradient_norms == other.gradient_norms


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_all_options_are_saved(classes, path, sampler):
    layers = [fb.Dense(5), fb.Dense(3)]
    net = fb.Network(layers, 4, "cross_entropy", backend="reference")
    trainer = fb.Trainer(net, sampler=sampler, **EVERYTHING)
    trainer.fit(*classes)
    trainer.save(path)
    loaded = fb.Trainer.load(path)
    for name in "sampler", "clip", "noise", "l2", "monitor", "seed", "batch_size", "history":
        assert getattr(loaded, name) == getattr(trainer, name), name
    for name, value in vars(trainer._state).items():
        np.testing.assert_array_equal(getattr(loaded._state, name), value, err_msg=name)


def test_a_sampler_of_the_users_own_must_be_given_again(classifier, classes, path):
    trainer = fb.Trainer(classifier, sampler=by_norm)
    trainer.fit(*classes, epochs=2)
    trainer.save(path)
    with pytest.raises(fb.CheckpointError, match=r"a sampler that is a function.*sampler=\.\.\."):
        fb.Trainer.load(path)
    with pytest.raises(ValueError, match="unknown sampler 'poison': did you mean 'poisson'"):
        fb.Trainer.load(path, sampler="poison")
    loaded = fb.Trainer.load(path, sampler=by_norm)
    for each in trainer, loaded:
        each.fit(*classes)
    np.testing.assert_array_equal(loaded.theta, trainer.theta)
    assert fb.Trainer.load(path, sampler="shuffle").fit(*classes)[0].epoch == 3


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, description: tensors.update(example_losses=np.zeros(5, np.float32)),
        lambda tensors, description: tensors.update(example_norms=np.zeros((90, 1), np.float32)),
        lambda tensors, description: tensors.update(probabilities=np.zeros(90)),
        lambda tensors, description: tensors.update(probabilities=np.full(90, np.nan)),
        lambda tensors, description: tensors.update(probabilities=-np.ones(90)),
        lambda tensors, description: tensors.update(surplus=np.zeros(3)),
        lambda tensors, description: description["state"].update(variance_sum=None),
        lambda tensors, description: description.pop("sampler"),
        lambda tensors, description: description.update(sampler="poison"),
        lambda tensors, description: description.update(sampler=3),
        lambda tensors, description: description["clip"].update(max_norm=-1.0),
        lambda tensors, description: description["clip"].update(max_norm=[1.0]),
        lambda tensors, description: description.update(clip=None),
        lambda tensors, description: description["noise"].update(multiplier="much"),
        lambda tensors, description: description.update(l2=-1.0),
        lambda tensors, description: description.pop("l2"),
        lambda tensors, description: description.update(monitor="losses"),
        lambda tensors, description: description.update(ledger=[]),
        lambda tensors, description: description["ledger"].update(entries=[[0, [0.5]]]),
        lambda tensors, description: description["ledger"].update(entries=[[-1, [0.5, 1.0]]]),
        lambda tensors, description: description["ledger"].update(entries=[]),
        lambda tensors, description: description["ledger"].update(entries=[[1, [0.5, 1.0]]]),
        lambda tensors, description: description["ledger"].update(entries=[[0, None], [99, None]]),
    ],
)
def test_what_describes_no_options_is_refused(classes, path, change):
    net = fb.Network([fb.Dense(5), fb.Dense(3)], 4, "cross_entropy", backend="reference")
    trainer = fb.Trainer(net, sampler="poisson", **EVERYTHING)
    trainer.fit(*classes)
    trainer.save(path)
    rewritten(path, change)
    with pytest.raises(fb.CheckpointError, match="does not describe a trainer"):
        fb.Trainer.load(path)


def test_another_optimizer_must_keep_as_much_state(trainer, path):
    trainer.save(path)
    assert fb.Trainer.load(path, optimizer="adamw").optimizer == fb.AdamW()
    with pytest.raises(fb.CheckpointError, match=r"of shape \(2, 113\) .* sgd keeps \(0, 113\)"):
        fb.Trainer.load(path, optimizer=fb.SGD())
    with pytest.raises(ValueError, match="unknown optimizer 'adan'"):
        fb.Trainer.load(path, optimizer="adan")


def test_a_file_from_before_there_was_a_penalty_has_none(trainer, path):
    trainer.save(path)
    rewritten(
        path, lambda tensors, description: [description.pop("l2"), description.update(format=1)]
    )
    assert fb.Trainer.load(path).l2 == 0.0


# Damaged, foreign, from the future


def test_every_flipped_bit_is_noticed(trainer, path):
    trainer.save(path)
    whole = path.read_bytes()
    text_end = 8 + struct.unpack("<Q", whole[:8])[0]
    theta = trainer.theta
    for index in (*range(0, text_end, 3), *range(text_end, len(whole), 101), len(whole) - 1):
        damaged = bytearray(whole)
        damaged[index] ^= 1 << index % 8
        path.write_bytes(damaged)
        try:
            loaded = fb.Trainer.load(path)
        except fb.CheckpointError:
            continue
        # Only blanks that fill the header up may change without harm.
        np.testing.assert_array_equal(loaded.theta, theta)
        assert whole[index : index + 1] == b" "


def test_every_truncated_file_is_noticed(trainer, path):
    trainer.save(path)
    whole = path.read_bytes()
    for length in (*range(0, len(whole), 61), len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(fb.CheckpointError, match="damaged or not a checkpoint"):
            fb.Trainer.load(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(fb.CheckpointError, match="damaged or not a checkpoint"):
        fb.Trainer.load(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"\x89HDF", b"a,b\n1,2\n", b"\xff" * 99])
def test_a_file_of_another_kind_is_refused(path, content):
    path.write_bytes(content)
    with pytest.raises(fb.CheckpointError, match=r"is damaged or not a checkpoint .* another"):
        fb.Trainer.load(path)


def test_a_foreign_safetensors_file_is_refused(path):
    for metadata in None, {"format": "pt"}:
        save_file({"layer.weight": np.zeros(3)}, path, metadata)
        with pytest.raises(fb.CheckpointError, match=r"not of fastbatch: .* layer\.weight"):
            fb.Trainer.load(path)
    save_file({}, path)
    with pytest.raises(fb.CheckpointError, match="found tensors none"):
        fb.Trainer.load(path)


def test_a_later_format_asks_for_an_upgrade(trainer, path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "FORMAT", checkpoint.FORMAT + 1)
        trainer.save(path)
    with pytest.raises(fb.CheckpointError, match=r"has format 3, .* 1 to 2, .* upgrade fastbatch"):
        fb.Trainer.load(path)


def rewritten(path, change):
    """Change the tensors and the description of a checkpoint, and sign it anew."""
    tensors, _ = checkpoint.read(path)
    with checkpoint.safe_open(path, framework="numpy") as file:
        description = json.loads(file.metadata()["fastbatch"])
    change(tensors, description)
    text = json.dumps(description)
    crc32 = str(checkpoint._checksum(text, tensors))
    save_file(tensors, path, {"fastbatch": text, "crc32": crc32})


@pytest.mark.parametrize(
    "change",
    [
        lambda tensors, description: tensors.pop("theta"),
        lambda tensors, description: tensors.pop("slots"),
        lambda tensors, description: tensors.update(theta=np.zeros(3, np.float32)),
        lambda tensors, description: tensors.update(slots=tensors["slots"].astype(float)),
        lambda tensors, description: tensors.update(slots=tensors["slots"][:, 1:].copy()),
        lambda tensors, description: description.pop("network"),
        lambda tensors, description: description.update(network={"type": "Network"}),
        lambda tensors, description: description.update(optimizer={"type": "Adan"}),
        lambda tensors, description: description.update(optimizer=3),
        lambda tensors, description: description["network"].update(loss="hinge"),
        lambda tensors, description: description["network"].update(surplus=1),
        lambda tensors, description: description.update(batch_size=0),
        lambda tensors, description: description["state"].update(step=-1),
        lambda tensors, description: description["state"].update(step=2**63),
        lambda tensors, description: description["state"].update(batch="two"),
        lambda tensors, description: description["state"].update(batch=7),
        lambda tensors, description: description["state"].update(loss_sum=None),
        lambda tensors, description: description["state"].update(theta=[0.0] * 113),
        lambda tensors, description: description["state"].update(
            slots=[[0.0] * len(tensors.pop("slots"))]
        ),
        lambda tensors, description: tensors.update(theta=tensors["theta"].astype(int)),
        lambda tensors, description: tensors.update(slots=tensors["slots"] * np.nan),
        lambda tensors, description: description["history"].update(loss=["much", 0.1]),
        lambda tensors, description: description["history"].update(epoch=[1.0, 2.0]),
        lambda tensors, description: description.update(extra="{"),
        lambda tensors, description: description["history"].pop("loss"),
        lambda tensors, description: description["history"]["loss"].pop(),
        lambda tensors, description: description.update(history=None),
        lambda tensors, description: description.pop("format"),
        lambda tensors, description: description.update(format="1"),
        lambda tensors, description: description.update(format=0),
    ],
)
def test_what_describes_no_trainer_is_refused(trainer, path, change):
    trainer.save(path)
    rewritten(path, change)
    with pytest.raises(fb.CheckpointError):
        fb.Trainer.load(path)


def test_a_missing_file_is_a_missing_file(path):
    with pytest.raises(FileNotFoundError):
        fb.Trainer.load(path)


# Written in place of another


def test_a_saved_file_has_the_usual_rights(trainer, path):
    path.touch()
    usual = path.stat().st_mode
    path.unlink()
    trainer.save(path)
    assert path.stat().st_mode == usual


@pytest.mark.skipif(os.name != "posix", reason="rights of POSIX")
def test_a_file_that_replaces_another_has_its_rights_and_is_private_until_then(path):
    path.touch()
    for mode in 0o600, 0o444, 0o666:
        path.chmod(mode)
        with replacement(path) as new:
            new.write_text("new")
            assert stat.S_IMODE(new.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.stat().st_mode) == mode and path.read_text() == "new"


def test_a_link_to_a_saved_file_stays_one(trainer, path):
    link = path.with_name("latest")
    link.symlink_to(path)
    trainer.save(link)
    assert link.is_symlink()
    assert fb.Trainer.load(link).step == fb.Trainer.load(path).step == trainer.step
