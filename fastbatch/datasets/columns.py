"""Which columns of a file are the target, the weights and features, and which of these are text."""

from collections.abc import Collection, Sequence

from fastbatch.datasets.table import Table

_SHOWN = 10  # columns in an error


def roles(
    source: str, names: Sequence[str], target: str | None, weights: str | None
) -> tuple[list[str], tuple[str, ...]]:
    """The column of the target and, if asked for, that of the weights; and all others."""
    if target is None:
        raise ValueError(f"{source}: say which column to predict, --target {names[-1]!r}")
    keys = [_column(source, names, name) for name in (target, weights) if name is not None]
    check_apart(source, keys)
    features = tuple(name for name in names if name not in keys)
    if not features:
        used = "the target" if weights is None else "the target and the weights"
        raise ValueError(f"{source} has no column but {used}, expected features, too")
    return keys, features


def texts_among(
    source: str, table: Table, features: Sequence[str], categorical: Collection[str]
) -> list[str]:
    """The features that are text, because they hold it or because it is asked for."""
    check_names(source, features, categorical)
    if "" in features:
        raise ValueError(
            f"{source}: column {table.names.index('') + 1} has no name, such as the index of a "
            "data frame: leave it out of the file, or name it"
        )
    return [name for name in features if name in categorical or table.is_text(name)]


def check_names(source: str, known: Sequence[str], names: Collection[str]) -> None:
    """Refuse names that are not known."""
    missing = [name for name in names if name not in known]
    if missing:
        more = f" and {len(known) - _SHOWN:,} more" if len(known) > _SHOWN else ""
        raise ValueError(
            f"{source} has no column {missing[0]!r}: "
            f"its columns are {', '.join(known[:_SHOWN])}{more}"
        )


def check_apart(source: str, keys: Sequence[str]) -> None:
    """Refuse a target that is to be the weights, too."""
    if len(set(keys)) < len(keys):
        raise ValueError(f"{source}: {keys[0]} is the target, the weights must be another column")


def _column(source: str, names: Sequence[str], name: str) -> str:
    """The name of a column given by its name, or by its index."""
    if name not in names:
        try:
            return names[int(name)]
        except (ValueError, IndexError):
            pass
    check_names(source, names, [name])
    return name
