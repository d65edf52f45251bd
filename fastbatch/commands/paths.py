"""Where commands write: refused, before anything is done, if it cannot be there."""

import os
from collections.abc import Mapping
from pathlib import Path


def check_file(option: str, path: str | None, suffixes: tuple[str, ...] = ()) -> None:
    """Refuse a file to be written that has another suffix, or lies nowhere."""
    if path is None:
        return
    if suffixes and Path(path).suffix.lower() not in suffixes:
        raise ValueError(f"{option} {path}: expected a name that ends with {' or '.join(suffixes)}")
    if not Path(path).parent.is_dir():
        raise ValueError(f"{option} {path}: no such folder, expected an existing one")


def check_apart(read: Mapping[str, str | None], written: Mapping[str, str | Path | None]) -> None:
    """Refuse to write over what is read, or twice to one file; None stands for no file."""
    known = {os.path.realpath(path): what for what, path in read.items() if path is not None}
    for what, path in written.items():
        if path is not None:
            first = known.setdefault(os.path.realpath(path), what)
            if first != what:
                raise ValueError(f"{what} {path} is the same file as {first}: give it another name")


def best_path(output: str) -> Path:
    """Where the best model is kept: beside "a.safetensors" there is "a.best.safetensors"."""
    return Path(output).with_name(f"{Path(output).stem}.best{Path(output).suffix}")
