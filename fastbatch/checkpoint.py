"""Checkpoint files: tensors by safetensors, all else as JSON in its metadata, and no pickle.

The metadata holds two strings: ``"fastbatch"``, the JSON, and ``"crc32"`` over that and the
tensors, since safetensors itself does not notice a flipped bit.
"""

import json
import zlib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from fastbatch.clipping import PerExampleClip
from fastbatch.layers import Dense, Dropout, GaussianSample
from fastbatch.network import Network
from fastbatch.optimizers import OPTIMIZERS
from fastbatch.privacy import GaussianNoise, Ledger
from fastbatch.replacement import refuse_what_is_no_file, replacement
from fastbatch.schedules import SCHEDULES

Tensors = Mapping[str, NDArray[Any]]

# One more for each option that decides about results, which an older fastbatch would pass over:
# 2 came with `l2`.
FORMAT = 2
_KINDS: tuple[type[Any], ...] = (
    Network,
    Dense,
    GaussianSample,
    Dropout,
    PerExampleClip,
    GaussianNoise,
    Ledger,
    *OPTIMIZERS.values(),
    *SCHEDULES,
)
_SPECS = {kind.__name__: kind for kind in _KINDS}

# What decoding raises for files that somebody has written or changed on purpose.
UNREADABLE = (
    SafetensorError,
    ArithmeticError,
    AttributeError,
    ImportError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class CheckpointError(ValueError):
    """A file is not a checkpoint that can be read.

    Examples
    --------
    >>> import tempfile
    >>> from fastbatch import Trainer
    >>> with tempfile.NamedTemporaryFile() as file:
    ...     Trainer.load(file.name)
    Traceback (most recent call last):
    fastbatch.checkpoint.CheckpointError: ... is damaged or not a checkpoint ...
    """


def user_function(*arguments: Any) -> Any:
    """Stands in a loaded checkpoint for a schedule or sampler that was a function of the user's."""
    raise NotImplementedError


def write(path: str | Path, tensors: Tensors, description: Mapping[str, Any]) -> None:
    """Write a checkpoint; killed at any moment, the old or the new one is there.

    `description` may hold what describes networks and training, beside what JSON knows.
    """
    text = json.dumps({"format": FORMAT, **_encode(description)})
    content = save(dict(tensors), {"fastbatch": text, "crc32": str(_checksum(text, tensors))})
    with replacement(path) as new:
        new.write_bytes(content)


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read tensors and description; `decode` turns the latter into what it was.

    Raises
    ------
    CheckpointError
        If the file is damaged, foreign, or of a later format.
    OSError
        If it cannot be opened.
    """
    refuse_what_is_no_file(path)
    with Path(path).open("rb"):  # safetensors reports these as errors of its own
        pass
    try:
        with safe_open(path, framework="numpy") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            ours = "fastbatch" in metadata  # another's tensors may not even fit into the memory
            tensors = {name: file.get_tensor(name) for name in names if ours}
    except UNREADABLE as error:
        raise CheckpointError(
            f"{path} is damaged or not a checkpoint ({error}): use another copy of it"
        ) from error
    if not ours:
        raise CheckpointError(
            f"{path} is a safetensors file, but not of fastbatch: expected one that Trainer.save "
            f"has written, found tensors {', '.join(sorted(names)[:5]) or 'none'}"
        )
    text = metadata["fastbatch"]
    if metadata.get("crc32") != str(_checksum(text, tensors)):
        raise CheckpointError(f"{path} is damaged (wrong checksum): use another copy of it")
    try:
        description = dict(json.loads(text, object_pairs_hook=_distinct))
    except UNREADABLE as error:
        raise CheckpointError(f"{path} has no description that can be read: {error!r}") from error
    found = description.pop("format", None)
    if found not in range(1, FORMAT + 1):
        raise CheckpointError(
            f"{path} has format {found!r}, expected one of 1 to {FORMAT}, which this fastbatch can "
            "read: upgrade fastbatch"
        )
    if found == 1:
        description.setdefault("l2", 0.0)
    return tensors, description


def _encode(value: Any) -> Any:
    """What JSON can hold of `value`."""
    if _SPECS.get(type(value).__name__) is type(value):
        options = {field.name: _encode(getattr(value, field.name)) for field in fields(value)}
        return {"type": type(value).__name__, **options}
    if isinstance(value, Mapping):
        return {key: _encode(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_encode(entry) for entry in value]
    if callable(value):
        return {"type": user_function.__name__}
    return value


def decode(value: Any) -> Any:
    """The way back from `_encode`; an error among `UNREADABLE` says that there is none."""
    if isinstance(value, list):
        return [decode(entry) for entry in value]
    if not isinstance(value, dict):
        return value
    entries = {key: decode(entry) for key, entry in value.items()}
    kind = entries.pop("type", None)
    if kind is None:
        return entries
    return user_function if kind == user_function.__name__ else _SPECS[kind](**entries)


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        raise ValueError("a key stands twice")
    return entries


def _checksum(text: str, tensors: Tensors) -> int:
    checksum = zlib.crc32(text.encode())
    for name in sorted(tensors):
        checksum = zlib.crc32(tensors[name].data, checksum)
    return checksum
