"""The options of a training: from the command line, from a TOML file, and back into one."""

import argparse
import json
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from fastbatch.constraints import one_of
from fastbatch.replacement import replacement

Options = dict[str, Any]
Configure = Callable[[argparse.ArgumentParser], None]


class _Parser(argparse.ArgumentParser):
    """A parser of what does not stand on the command line."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)


def read(path: str, configure: Configure, defaults: Options) -> Options:
    """The options in a TOML file, whose keys are those of the command line without the dashes.

    Raises
    ------
    ValueError
        If it is no such file, or a key or value is not right.
    """
    try:
        with Path(path).open("rb") as file:
            return understood(tomllib.load(file), configure, defaults)
    except IsADirectoryError:
        raise ValueError(f"{path} is a folder, expected a TOML file") from None
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def understood(table: Mapping[str, Any], configure: Configure, defaults: Options) -> Options:
    """What the command line would have made of the entries of a table."""
    parser = _Parser()
    configure(parser)
    options: Options = {}
    for key, value in table.items():
        one_of("option", key, map(_key, defaults))
        name = key.replace("-", "_")
        is_list = isinstance(defaults[name], list)
        entries = _entries(key, value, defaults[name])
        if key == "data":
            options[name] = str(entries[0])
        elif isinstance(value, bool):
            options[name] = value
        else:  # one by one, since each may begin with a dash
            parsed = [getattr(parser.parse_args([f"--{key}={entry}"]), name) for entry in entries]
            parsed = [one for (one,) in parsed] if is_list else parsed
            for entry, one in zip(entries, parsed, strict=True):
                if isinstance(entry, str) and not isinstance(one, str):
                    raise ValueError(f"{key} must be a number, without quotes, found {entry!r}")
            options[name] = parsed if is_list else parsed[0]
    return options


def _entries(key: str, value: Any, default: Any) -> list[Any]:
    """What stands alone on the command line of a value, if it is of the kind of the default."""
    if isinstance(value, list) and not isinstance(default, list):
        raise ValueError(f"{key} must be a single value, found {value}")
    if isinstance(default, bool) != isinstance(value, bool):
        expected = "true or false" if isinstance(default, bool) else "a value"
        raise ValueError(f"{key} must be {expected}, found {value!r}")
    entries = value if isinstance(value, list) else [value]
    if not all(isinstance(entry, str | int | float) for entry in entries):
        raise ValueError(f"{key} must hold text or numbers, found {value}")
    return entries


def table(options: Options) -> Options:
    """Options as a table; what is not set is left out."""
    return {_key(name): value for name, value in options.items() if value is not None}


def write(path: str | Path, options: Options) -> None:
    """Write a file that `read` understands."""
    lines = [f"{key} = {_toml(value)}\n" for key, value in table(options).items()]
    with replacement(path) as beside:
        beside.write_text("".join(lines), encoding="utf-8")


def _key(name: str) -> str:
    return name.replace("_", "-")


def _toml(value: Any) -> str:
    """A value as TOML: strings have JSON's escapes there, and one more."""
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
