"""Where a checkpoint cannot be written, one sentence says so, and nothing is lost by trying."""

import contextlib
import errno
import os
import resource
import tempfile
from pathlib import Path

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.commands import main
from fastbatch.data.source import located
from fastbatch.replacement import check_writable, replacement

pytestmark = pytest.mark.skipif(os.name != "posix", reason="limits and rights of POSIX")


@pytest.fixture
def trainer(classes):
    net = fb.Network([fb.Dense(9, "relu"), fb.Dense(3)], 4, "cross_entropy", backend="reference")
    trainer = fb.Trainer(net, fb.Adam(0.01), batch_size=16, seed=1)
    trainer.fit(*classes)
    return trainer


@contextlib.contextmanager
def room_for(size):
    """No file may grow beyond that: a write stops half way, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextlib.contextmanager
def failing(name, number):
    """A function of the system that fails."""

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, name, fail)
        yield


FAILURES = {
    "a disk that is full half way": lambda: room_for(1000),
    "a disk that is full at once": lambda: room_for(0),
    "a disk that is full when synced": lambda: failing("fsync", errno.ENOSPC),
    "a disk that breaks": lambda: failing("fsync", errno.EIO),
    "a quota": lambda: failing("replace", errno.EDQUOT),
    "a folder that became read-only": lambda: failing("replace", errno.EROFS),
}


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("is_there", [False, True])
def test_a_save_that_fails_leaves_files_and_trainer_as_they_were(
    trainer, classes, tmp_path, failure, is_there
):
    path = tmp_path / "run.safetensors"
    if is_there:
        trainer.save(path)
    before = {file: file.read_bytes() for file in tmp_path.iterdir()}
    with failure(), pytest.raises(OSError, match=r"so nothing was written .*/run\.safetensors"):
        trainer.save(path)
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == before
    trainer.save(path)
    loaded = fb.Trainer.load(path)
    for each in trainer, loaded:
        each.fit(*classes)
    np.testing.assert_array_equal(trainer.theta, loaded.theta)


@pytest.mark.parametrize("failure", FAILURES.values(), ids=FAILURES)
def test_a_run_whose_checkpoint_fails_stands_after_an_epoch_and_goes_on(
    trainer, classes, tmp_path, failure
):
    def fill(trainer, record):
        if record.epoch == 3:
            stack.enter_context(failure())

    expected = fb.Trainer(trainer.network, trainer.optimizer, batch_size=16, seed=1)
    expected.fit(*classes, epochs=6)
    path = tmp_path / "run.safetensors"
    callbacks = [fill, fb.Checkpoint(path)]
    with contextlib.ExitStack() as stack, pytest.raises(OSError, match="nothing was written"):
        trainer.fit(*classes, epochs=5, callbacks=callbacks)
    assert trainer.epoch == 3 and list(tmp_path.iterdir()) == [path]
    loaded = fb.Trainer.load(path)
    assert loaded.epoch == 2
    for each in trainer, loaded:
        each.fit(*classes, epochs=6 - each.epoch, callbacks=[fb.Checkpoint(path)])
        np.testing.assert_array_equal(each.theta, expected.theta)


@pytest.fixture
def no_right_to_write():
    """A folder with a file in it, where whoever runs the tests may change nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model").write_bytes(b"of somebody else")
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:  # who may do anything
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(user)
            folder.chmod(0o755)


def places(folder):
    """Paths where no file can be, and what is said of them."""
    (folder / "file").touch()
    os.mkfifo(folder / "pipe")
    (folder / "link to pipe").symlink_to(folder / "pipe")
    return {
        folder: "folder, expected a file",
        folder / "missing" / "model": "No such file",
        folder / "file" / "model": "Not a directory",
        folder / ("long" * 99): "name too long",
        folder / "pipe": "a device or a pipe, expected a file",
        folder / "link to pipe": "a device or a pipe, expected a file",
        Path("/"): "folder, expected a file",
    }


def refusals(path, trainer, classes):
    """Everything that has to refuse a path before anything is trained."""
    yield lambda: trainer.save(path)
    yield lambda: check_writable(path)
    yield lambda: trainer.fit(*classes, callbacks=[fb.Checkpoint(path)])


def test_a_path_that_cannot_be_a_file_is_refused_before_training(trainer, classes, tmp_path):
    for path, words in places(tmp_path).items():
        before = sorted(tmp_path.rglob("*"))
        for refused in refusals(path, trainer, classes):
            with pytest.raises(OSError, match=words):
                refused()
        assert sorted(tmp_path.rglob("*")) == before and trainer.epoch == 1
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_without_the_right_to_write_is_refused(trainer, classes, no_right_to_write):
    for name in "model", "other":
        for refused in refusals(no_right_to_write / name, trainer, classes):
            with pytest.raises(PermissionError, match=r"denied, so nothing was .*/(model|other)"):
                refused()
    assert trainer.epoch == 1
    (file,) = no_right_to_write.iterdir()
    assert file.read_bytes() == b"of somebody else"


def test_a_folder_that_may_be_written_and_not_read_gets_its_checkpoint(trainer, no_right_to_write):
    user = os.geteuid()
    os.seteuid(os.getuid())
    os.chown(no_right_to_write, user, -1)
    no_right_to_write.chmod(0o300)
    os.seteuid(user)
    trainer.save(no_right_to_write / "model")
    with pytest.raises(PermissionError):
        list(no_right_to_write.iterdir())
    assert fb.Trainer.load(no_right_to_write / "model").step == trainer.step


def test_a_disk_on_which_folders_cannot_be_synced_gets_its_checkpoint(trainer, tmp_path):
    fsync = os.fsync

    def only_files(descriptor):
        if Path(f"/dev/fd/{descriptor}").is_dir():
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))
        fsync(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", only_files)
        trainer.save(tmp_path / "model")
    assert fb.Trainer.load(tmp_path / "model").step == trainer.step


def test_the_longest_name_that_a_file_can_have_will_do(trainer, tmp_path):
    path = tmp_path / ("é" * 127)  # 254 of 255 bytes
    trainer.save(path)
    assert fb.Trainer.load(path).step == trainer.step


def test_what_is_no_file_is_not_waited_for(tmp_path):
    for path, words in places(tmp_path).items():
        with pytest.raises(OSError, match=words):
            fb.Trainer.load(path)


def test_the_command_trains_nothing_that_it_could_not_save(capsys, tmp_path):
    options = ["iris", "--backend", "reference", "--epochs", "1"]
    for path in places(tmp_path):
        assert main(["train", *options, "--output", str(path)]) != 0
        printed, said = capsys.readouterr()
        assert not printed and said.count("\n") == 1 and str(path) in said


def test_an_error_of_reading_names_the_file_that_was_read(tmp_path):
    with pytest.raises(OSError) as caught, replacement(tmp_path / "new"), located("old"):
        raise OSError(errno.EIO, "broken")
    assert (caught.value.filename, caught.value.strerror) == ("old", "broken")
    assert not list(tmp_path.iterdir())
