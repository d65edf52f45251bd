"""Files that take the place of older ones: at any moment the old or the new one is there, whole."""

import contextlib
import errno
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacement(path: str | Path) -> Iterator[Path]:
    """An empty new file, which takes the place of `path`, and its rights, once it is written.

    A process that is killed amid this leaves the new file behind, hidden, under a name of its own.
    It is not for the next one to remove: it looks like what another process is writing right now.

    Raises
    ------
    OSError
        If that cannot be done; an older file is as it was, and nothing of the new one is left.
    """
    target = _target(path)
    with _beside(target) as new:
        yield new
        with new.open("rb+") as file:
            # Fails if there is no older file, or where files have no rights.
            with contextlib.suppress(OSError):
                shutil.copymode(target, new)
            os.fsync(file.fileno())
        new.replace(target)
    # The new name, too, should reach the disk. The file itself is there, so whatever cannot do
    # that, such as a folder that may not be read, or some network's, has not failed to save.
    with contextlib.suppress(OSError):
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def check_writable(path: str | Path) -> None:
    """Raise the OSError with which `replacement` would fail, before anybody trains for hours."""
    with _beside(_target(path)):
        pass


def refuse_what_is_no_file(path: str | Path) -> None:
    """Folders, and what would wait for ever, such as a pipe, or be replaced, such as /dev/null."""
    path = Path(path)
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "is a folder, expected a file", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "is a device or a pipe, expected a file", str(path))


def _target(path: str | Path) -> Path:
    """What is to be replaced: the file itself rather than a link to it."""
    refuse_what_is_no_file(path)
    return Path(os.path.realpath(path))


@contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """A file in the same folder, of which nothing is left in the end."""
    new = target.with_name(f".{target.stem[:40]}.{secrets.token_hex(4)}{target.suffix[:20]}")
    try:
        # Not to be read by anybody yet who may not read the older file either.
        new.touch(0o600 if target.exists() else 0o666, exist_ok=False)
        yield new
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(new):
            raise  # what was to be written comes from another file
        raise OSError(
            error.errno,
            f"{error.strerror or error}, so nothing was written there; an older file is as it was",
            str(target),
        ) from error
    finally:
        with contextlib.suppress(OSError):
            new.unlink()
