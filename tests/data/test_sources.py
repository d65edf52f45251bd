"""Sources give the rows that are in the file, and say what is wrong with it."""

import shutil
import sys
import zipfile
from decimal import Decimal

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fastbatch as fb
from fastbatch.data import ArraySource, CSVSource, ParquetSource, Stream
from fastbatch.data.array_source import FileRows

ROWS = 2500
X = (np.arange(ROWS * 3) % 1009 / 8).reshape(ROWS, 3)
Y = np.arange(ROWS) % 7
WEIGHTS = np.arange(ROWS) / 4


def frame(rows=slice(None)):
    columns = {"a": X[rows, 0], "y": Y[rows], "b": X[rows, 1], "c": X[rows, 2], "w": WEIGHTS[rows]}
    return pa.table(columns)


def text(rows=slice(None), end="\n"):
    lines = [
        f"{a},{y},{b},{c},{w}"
        for (a, b, c), y, w in zip(X[rows], Y[rows], WEIGHTS[rows], strict=True)
    ]
    return end.join(["a,y,b,c,w", *lines]) + end


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sources")
    for name, values in {"X": X, "y": Y, "w": WEIGHTS}.items():
        np.save(folder / f"{name}.npy", values)
    np.save(folder / "columns.npy", np.asfortranarray(X))
    np.savez(folder / "plain.npz", X=X, y=Y, w=WEIGHTS)
    np.savez_compressed(folder / "compressed.npz", X=X, y=Y, w=WEIGHTS)
    np.savez(folder / "columns.npz", X=np.asfortranarray(X), y=Y, w=WEIGHTS)
    pq.write_table(frame(), folder / "one.parquet", row_group_size=700)
    pq.write_table(frame(slice(0, 900)), folder / "first.parquet", row_group_size=300)
    pq.write_table(frame(slice(0, 0)), folder / "empty.parquet")
    pq.write_table(frame(slice(900, None)), folder / "last.parquet", row_group_size=1000)
    (folder / "data.csv").write_text(text())
    (folder / "windows.csv").write_bytes(b"\xef\xbb\xbf" + text(end="\r\n").encode()[:-2])
    (folder / "semicolons.csv").write_text(text().replace(",", ";"))
    return folder


def mapped(folder, name):
    return np.load(folder / f"{name}.npy", mmap_mode="r")


COLUMNS = {"target": "y", "features": ["a", "b", "c"], "sample_weight": "w"}
SOURCES = {
    "arrays": lambda f: ArraySource(X, Y, WEIGHTS),
    "lists": lambda f: ArraySource(X.tolist(), Y.tolist(), WEIGHTS.tolist()),
    "paths": lambda f: ArraySource(f / "X.npy", str(f / "y.npy"), f / "w.npy"),
    "maps": lambda f: ArraySource(*(mapped(f, name) for name in ("X", "y", "w"))),
    "maps in Fortran's order": lambda f: ArraySource(mapped(f, "columns"), Y, WEIGHTS),
    "plain npz": lambda f: ArraySource.from_npz(f / "plain.npz", sample_weight="w"),
    "compressed npz": lambda f: ArraySource.from_npz(f / "compressed.npz", sample_weight="w"),
    "npz in Fortran's order": lambda f: ArraySource.from_npz(f / "columns.npz", sample_weight="w"),
    "Parquet": lambda f: ParquetSource(f / "one.parquet", **COLUMNS),
    "Parquet files": lambda f: ParquetSource(
        [f / f"{name}.parquet" for name in ("first", "empty", "last")], **COLUMNS
    ),
    "CSV": lambda f: CSVSource(f / "data.csv", **COLUMNS),
    "CSV of Windows": lambda f: CSVSource(f / "windows.csv", **COLUMNS),
    "CSV with semicolons": lambda f: CSVSource(f / "semicolons.csv", delimiter=";", **COLUMNS),
}


@pytest.fixture(scope="module", params=SOURCES)
def source(request, folder):
    return SOURCES[request.param](folder)


@settings(deadline=None, max_examples=20)
@given(
    st.tuples(st.integers(0, ROWS), st.integers(0, ROWS)).filter(lambda pair: pair[0] != pair[1])
)
def test_any_rows_can_be_read(source, pair):
    start, stop = sorted(pair)
    assert len(source) == ROWS
    found = source.read(start, stop)
    for values, expected in zip(found, (X, Y, WEIGHTS), strict=True):
        np.testing.assert_array_equal(values, expected[start:stop])


def test_every_source_trains_to_the_same_bits(source):
    net = fb.Network([fb.Dense(7)], 3, "cross_entropy", backend="reference")
    options = {"seed": 1, "block_size": 100, "buffer_size": 500}
    known, trainer = fb.Trainer(net), fb.Trainer(net)
    known.fit(batches=Stream(ArraySource(X, Y, WEIGHTS), 100, **options))
    trainer.fit(batches=Stream(source, 100, **options))
    np.testing.assert_array_equal(trainer.theta, known.theta)


@pytest.mark.parametrize("name", ["paths", "maps", "plain npz"])
def test_files_are_read_and_not_mapped(folder, name):
    columns = SOURCES[name](folder)._columns.values()
    assert all(isinstance(column, FileRows) for column in columns)


@pytest.mark.parametrize(
    "part",
    [np.s_[5:], np.s_[:40], np.s_[7:9], np.s_[::2], np.s_[::-1], np.s_[:, 1:], np.s_[3:, :0]],
)
@pytest.mark.parametrize("mode", ["r", "r+", "c"])
def test_parts_of_maps(folder, part, mode):
    values = np.load(folder / "X.npy", mmap_mode=mode)[part]
    source = ArraySource(values, np.zeros(len(values)))
    np.testing.assert_array_equal(source.read(1, 7)[0], X[part][1:7])


def test_a_map_with_an_offset_and_another_byte_order(tmp_path):
    (tmp_path / "raw").write_bytes(b"header of 17 byte" + X.astype(">f4").tobytes())
    values = np.memmap(tmp_path / "raw", ">f4", "r", offset=17, shape=X.shape)
    source = ArraySource(values, Y)
    assert isinstance(source._columns["X"], FileRows)
    np.testing.assert_array_equal(source.read(5, 50)[0], X[5:50].astype("f4"))


def test_what_was_assigned_to_a_copy_on_write_map_counts(folder):
    values = np.load(folder / "X.npy", mmap_mode="c")
    values[3] = 77
    assert (ArraySource(values, Y).read(3, 4)[0] == 77).all()


def test_arrays_in_memory_are_used_in_place():
    found, _, _ = ArraySource(X, Y).read(3, 9)
    assert np.shares_memory(found, X)


def test_columns_are_chosen_by_name(folder):
    for kind, name in (ParquetSource, "one.parquet"), (CSVSource, "data.csv"):
        source = kind(folder / name, target=["c", "a"])
        assert source.features == ("y", "b", "w")
        found_x, found_y, weights = source.read(1, 3)
        np.testing.assert_array_equal(found_x, np.stack([Y, X[:, 1], WEIGHTS], axis=1)[1:3])
        np.testing.assert_array_equal(found_y, X[1:3, [2, 0]])
        assert weights is None


@pytest.mark.parametrize(
    ("kind", "name"), [(ParquetSource, "one.parquet"), (CSVSource, "data.csv")]
)
def test_a_column_may_be_feature_and_target(folder, kind, name):
    found, targets, _ = kind(folder / name, target=["c", "a"], features=["a", "b"]).read(1, 3)
    np.testing.assert_array_equal(found, X[1:3, :2])
    np.testing.assert_array_equal(targets, X[1:3, [2, 0]])


@pytest.mark.parametrize(
    ("kind", "name"), [(ParquetSource, "one.parquet"), (CSVSource, "data.csv")]
)
def test_rows_to_be_predicted_need_no_target(folder, kind, name):
    """Across a row group, too."""
    found, targets, _ = kind(folder / name, None, ["c", "a"]).read(690, 710)
    np.testing.assert_array_equal(found, X[690:710, [2, 0]])
    assert targets.shape == (20, 0)
    assert kind(folder / name, target=None).features == ("a", "y", "b", "c", "w")


def test_decimals_and_truth_values_with_gaps_are_numbers(folder):
    path = table(folder / "t.parquet", x=[Decimal("1.5"), Decimal("-0.25")], y=[True, None])
    found, targets, _ = ParquetSource(path, "y").read(0, 2)
    np.testing.assert_array_equal(found, [[1.5], [-0.25]])
    np.testing.assert_array_equal(targets, [1, np.nan])


def test_lines_may_be_long(folder):
    """Longer than what pyarrow parses at once unless it is told to."""
    lines = ["x,note,y", *(f"{row},{'-' * (3 << 20)},{row}" for row in range(3))]
    source = CSVSource(write(folder / "t.csv", "\n".join(lines)), "y", ["x"])
    assert source.read(0, 3)[1].tolist() == [0, 1, 2]


def test_a_row_group_is_decoded_once_for_one_read_after_the_other(folder, monkeypatch):
    source = ParquetSource(folder / "one.parquet", **COLUMNS)
    of, decoded = source._selection.of, []
    monkeypatch.setattr(
        source._selection, "of", lambda table, path: decoded.append(len(table)) or of(table, path)
    )
    for start in range(0, ROWS, 100):
        source.read(start, start + 100)
    assert decoded == [700, 700, 700, 400]


def test_a_stream_reads_stored_pieces_as_they_are(folder):
    assert ParquetSource(folder / "one.parquet", "y").bounds.tolist() == [0, 700, 1400, 2100, 2500]
    assert CSVSource(folder / "data.csv", "y").bounds.tolist() == [0, 1024, 2048, 2500]


def write(path, content):
    path.write_text(content)
    return path


def latin(path):
    path.write_bytes("x,y\né,2\n".encode("latin-1"))
    return path


def table(path, **columns):
    pq.write_table(pa.table(columns), path)
    return path


def twice(path, name):
    """A file with two columns of one name, and targets."""
    pq.write_table(pa.table([pa.array([1.0])] * 3, names=[name, name, "y"]), path)
    return path


def zipped(path, note=None, **members):
    """An .npz file, with a note that is no array."""
    np.savez(path, **members)
    if note is not None:
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr("note", note)
    return path


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda f: ArraySource(X[:3], Y[:2]), ValueError, "as many rows, found 3 in X, 2 in y"),
        (lambda f: ArraySource(X, Y, [1]), ValueError, "found 2500 in X, 2500 in y, 1 in sample_w"),
        (lambda f: ArraySource(X[:0], Y[:0]), ValueError, "X has no rows"),
        (lambda f: ArraySource(3.0, Y), ValueError, "X must have rows, found a single number"),
        (lambda f: ArraySource(X, ["a"] * ROWS), TypeError, "y must hold real numbers"),
        (
            lambda f: ArraySource("X.csv", Y),
            ValueError,
            "path of a .npy file, found 'X.csv': Array",
        ),
        (lambda f: ArraySource(f / "no.npy", Y), FileNotFoundError, "no.npy"),
        (
            lambda f: ArraySource.from_npz(f / "plain.npz", "x"),
            ValueError,
            "unknown member 'x': .*known are X, y, w",
        ),
        (
            lambda f: ArraySource.from_npz(zipped(f / "t.npz", X=Y.astype("S4"), y=Y), "X"),
            TypeError,
            r"X must hold real numbers, found dtype \|S4",
        ),
        (
            lambda f: ArraySource.from_npz(zipped(f / "t.npz", y=Y, note="no array"), "note"),
            ValueError,
            "unknown member 'note': .*known are y",
        ),
        (
            lambda f: ParquetSource(f / "one.parquet", "price"),
            ValueError,
            "one.parquet: unknown column 'price': known are a, y, b, c, w",
        ),
        (lambda f: ParquetSource([], "y"), ValueError, "paths holds no file"),
        (lambda f: CSVSource(f / "data.csv", "Y"), ValueError, "data.csv: unknown column 'Y'"),
        (
            lambda f: CSVSource(write(f / "t.csv", "x,x,y\n1,2,3\n"), "y"),
            ValueError,
            "t.csv: two columns are called 'x': rename one",
        ),
        (
            lambda f: ParquetSource(twice(f / "t.parquet", "x"), "y", ["x"]),
            ValueError,
            "t.parquet: two columns are called 'x'",
        ),
        (lambda f: CSVSource(f / "data.csv", []), ValueError, "data.csv: .*at least one target"),
        (
            lambda f: CSVSource(f / "data.csv", "y", categorical=["z"]),
            ValueError,
            "data.csv: unknown categorical column 'z'",
        ),
        (
            lambda f: CSVSource(f / "data.csv", "y", ["a", "y"], categorical=["z"]),
            ValueError,
            "unknown categorical column 'z': known are a, y$",
        ),
        (
            lambda f: ParquetSource(f / "one.parquet", "y", categorical=["z"]),
            ValueError,
            "one.parquet: unknown categorical column 'z'",
        ),
        (lambda f: CSVSource(f / "one.parquet", "y"), ValueError, "one.parquet: .*CSV file of UTF"),
        (lambda f: ParquetSource(f / "data.csv", "y"), ValueError, "data.csv: .*not a parquet"),
        (
            lambda f: CSVSource(f / "semicolons.csv", "y"),
            ValueError,
            "semicolons.csv: has one column, 'a;y;b;c;w': give delimiter=';'",
        ),
        (lambda f: CSVSource(write(f / "t.csv", ""), "y"), ValueError, "t.csv: .*found none"),
        (
            lambda f: CSVSource(write(f / "t.csv", "x,y\r1,2\r"), "y"),
            ValueError,
            "t.csv: expected a CSV file",
        ),
        (lambda f: CSVSource(f / "data.csv", "y", delimiter=";;"), ValueError, "found ';;'"),
        (lambda f: CSVSource(f / "data.csv", "y", decimal=""), ValueError, "decimal .*found ''"),
        (
            lambda f: CSVSource(latin(f / "t.csv"), "y", categorical=["x"]).read(0, 1),
            ValueError,
            "t.csv, rows 0 to 1: column 'x' is not UTF-8 text",
        ),
        (
            lambda f: CSVSource(write(f / "t.csv", "x;y\n1;2,5"), "y", delimiter=";").read(0, 1),
            ValueError,
            "column 'y' has '2,5', expected a number: give decimal=',', or",
        ),
        (lambda f: CSVSource(f / "data.csv", None, []), ValueError, "at least one target and one"),
        (
            lambda f: CSVSource(f / "data.csv", "y").read(-3, 2),
            ValueError,
            r"found read\(-3, 2\) of 2500 rows, expected 0 <= start < stop <= 2500",
        ),
        (
            lambda f: ParquetSource(f / "one.parquet", "y").read(2490, 2501),
            ValueError,
            r"found read\(2490, 2501\) of 2500 rows",
        ),
        (
            lambda f: Stream(ParquetSource(f / "one.parquet", None), 1),
            ValueError,
            "source has no targets to train on: name their column by target",
        ),
        (lambda f: CSVSource(f / "data.csv", "y", []), ValueError, "at least one target and one"),
        (
            lambda f: ParquetSource(table(f / "t.parquet", x=["a"], y=[1]), "y").read(0, 1),
            TypeError,
            "column 'x' of .*t.parquet holds text, expected numbers: name it in categorical",
        ),
        (
            lambda f: CSVSource(write(f / "t.csv", "x,y\n1,2\na,4\n"), "y").read(0, 2),
            ValueError,
            "t.csv, rows 0 to 2: column 'x' has 'a', expected a number: name the column in cat",
        ),
        (
            lambda f: CSVSource(write(f / "t.csv", "x,y\n1,2\n3\n"), "y").read(0, 2),
            ValueError,
            "t.csv, rows 0 to 2: .*[Ee]xpected 2 columns",
        ),
        (
            lambda f: CSVSource(write(f / "t.csv", "x,y\n1,2\n\n3,4\n"), "y").read(0, 3),
            ValueError,
            "t.csv, rows 0 to 3: expected a row in each of 3 lines, found 2: remove empty lines",
        ),
        (
            lambda f: Stream(CSVSource(write(f / "t.csv", "x,y\n"), "y"), 1),
            ValueError,
            "source has no rows",
        ),
    ],
)
def test_bad_sources_are_refused(folder, make, error, message):
    with pytest.raises(error, match=message):
        make(folder)


def test_booleans_of_pandas_are_numbers(folder):
    lines = [f"{i % 2 == 0},{i}" for i in range(1100)]  # more than a block of lines
    path = write(folder / "t.csv", "\n".join(["x,y", *lines, ",1100"]))
    found, _, _ = CSVSource(path, "y").read(1020, 1101)
    np.testing.assert_array_equal(found[:, 0], [*(i % 2 == 0 for i in range(1020, 1100)), np.nan])
    names, _, _ = CSVSource(path, "y", categorical=["x"]).read(0, 2)
    assert names[:, 0].tolist() == ["True", "False"]


def test_gaps_are_found_at_the_door(folder):
    net = fb.Network([fb.Dense(1)], 1, "squared_error", backend="reference")
    parquet = ParquetSource(table(folder / "t.parquet", x=[1, None, 3], y=[1, 2, 3]), "y")
    csv = CSVSource(write(folder / "t.csv", "x,y\n1,1\n,2\n3,3\n"), "y")
    for source in parquet, csv:
        with pytest.raises(ValueError, match=r"rows 0 to 3 of the source: X\[1, 0\] is nan"):
            fb.Trainer(net).fit(batches=Stream(source, 2))


def test_gaps_in_one_row_group_make_the_column_floating_in_all(folder):
    columns = pa.table({"x": [1, 2, None, 4], "y": [1, 2, 3, 4]})
    pq.write_table(columns, folder / "t.parquet", row_group_size=2)
    found, _, _ = ParquetSource(folder / "t.parquet", "y").read(0, 4)
    np.testing.assert_array_equal(found[:, 0], [1, 2, np.nan, 4])


def test_a_file_that_was_cut_short_is_an_error_and_not_a_crash(folder, tmp_path):
    path = tmp_path / "X.npy"
    shutil.copy(folder / "X.npy", path)
    source = ArraySource(path, Y)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    source.read(0, 10)
    with pytest.raises(OSError, match=r"X.npy ends within rows 1200 to 1300, expected 2500 rows"):
        source.read(1200, 1300)


def test_a_file_that_was_replaced_is_noticed(folder, tmp_path):
    path = tmp_path / "X.npy"
    shutil.copy(folder / "X.npy", path)
    values = np.load(path, mmap_mode="r")
    path.unlink()
    np.save(path, X + 1)
    with pytest.raises(ValueError, match="another file by now than the one that is mapped"):
        ArraySource(values, Y)


@pytest.mark.parametrize(
    ("kind", "name"), [(ParquetSource, "one.parquet"), (CSVSource, "data.csv")]
)
def test_without_pyarrow_one_sentence_says_so(folder, monkeypatch, kind, name):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"Source needs pyarrow: pip install 'fastbatch\[data\]'"):
        kind(folder / name, "y")


def test_reading_leaves_no_file_open(source):
    before = psutil.Process().num_fds()
    for start in range(0, ROWS, 500):
        source.read(start, start + 500)
    assert psutil.Process().num_fds() == before
