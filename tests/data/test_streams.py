"""A stream takes every row once an epoch, mixes what it says, and can begin anywhere."""

import subprocess
import sys
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array

from fastbatch.data import ArraySource, Stream

sizes = st.integers(1, 60)
options = st.fixed_dictionaries(
    {
        "batch_size": st.integers(1, 20),
        "block_size": st.integers(1, 25),
        "buffer_size": st.integers(1, 40),
        "seed": st.integers(0, 2**64 - 1),
        "shuffle": st.booleans(),
    }
)


def numbered(rows):
    """A source whose rows are told by their targets."""
    numbers = np.arange(rows)
    return ArraySource(numbers.reshape(-1, 1) + 0.5, numbers, numbers + 0.25)


def order(stream, epoch=0):
    return np.concatenate([y for _, y, _ in stream.batches(epoch)])


@settings(deadline=None, max_examples=60)
@given(sizes, options)
def test_an_epoch_takes_every_row_once_in_batches_of_the_size_asked_for(rows, options):
    stream = Stream(numbered(rows), **options)
    batches = list(stream.batches(epoch=3))
    y = np.concatenate([batch[1] for batch in batches])
    np.testing.assert_array_equal(np.sort(y), np.arange(rows))
    np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches])[:, 0], y + 0.5)
    np.testing.assert_array_equal(np.concatenate([batch[2] for batch in batches]), y + 0.25)
    size = min(options["batch_size"], rows)
    assert [len(batch[1]) for batch in batches[:-1]] == [size] * (len(batches) - 1)
    assert len(batches) == len(stream) == -(-rows // size)
    if not options["shuffle"]:
        np.testing.assert_array_equal(y, np.arange(rows))


@settings(deadline=None, max_examples=60)
@given(sizes, options, st.data())
def test_parts_can_be_had_from_any_batch_on(rows, options, data):
    stream = Stream(numbered(rows), **options)
    done = data.draw(st.integers(0, len(stream)))
    whole, rest = list(stream.parts(1)), list(stream.parts(1, done))
    assert len(rest) <= len(whole)
    for part, known in zip(rest, whole[len(whole) - len(rest) :], strict=True):
        np.testing.assert_array_equal(part.y, known.y)
        assert (part.rows is None) == (known.rows is None) == (not options["shuffle"])
        if part.rows is not None:
            np.testing.assert_array_equal(part.rows, known.rows)
        assert part.first_batch == known.first_batch
    assert not rest if done == len(stream) else rest[0].first_batch <= done
    for earlier in whole[: len(whole) - len(rest)]:  # nothing is read that is not wanted
        assert earlier.first_batch + -(-len(earlier.y) // stream.batch_size) <= done


def test_orders_depend_on_seed_and_epoch_and_on_nothing_else():
    streams = {seed: Stream(numbered(97), 10, seed=seed, buffer_size=30) for seed in (0, 1, 2**63)}
    orders = {(seed, epoch): order(streams[seed], epoch) for seed in streams for epoch in (0, 1, 7)}
    assert len({tuple(found) for found in orders.values()}) == len(orders)
    for (seed, epoch), found in orders.items():
        again = Stream(numbered(97), 10, seed=seed, buffer_size=30)
        np.testing.assert_array_equal(order(again, epoch), found)


def test_the_order_is_part_of_the_contract():
    stream = Stream(numbered(12), 4, seed=5, block_size=2, buffer_size=8)
    assert order(stream, epoch=3).tolist() == [11, 8, 10, 0, 4, 1, 5, 9, 3, 2, 7, 6]


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 60), st.integers(1, 12), st.integers(1, 20), st.integers(0, 9))
def test_the_buffer_is_filled_with_whole_blocks_but_where_it_ends(rows, block, buffer, epoch):
    """So each content of the buffer has at most two blocks in part."""
    stream = Stream(numbered(rows), 3, block_size=block, buffer_size=buffer)
    for part in stream.parts(epoch):
        found = Counter((part.y // block).tolist())
        whole = {b: min(block, rows - b * block) for b in found}
        assert sum(found[b] < whole[b] for b in found) <= 2


def test_a_buffer_for_all_rows_shuffles_fully():
    """All six orders of three rows come equally often: within five standard errors."""
    stream, epochs = Stream(numbered(3), 1, block_size=2, buffer_size=3), 3000
    counts = Counter(tuple(order(stream, epoch)) for epoch in range(epochs))
    assert len(counts) == 6
    error = (epochs * (1 / 6) * (5 / 6)) ** 0.5
    assert max(abs(count - epochs / 6) for count in counts.values()) < 5 * error


def test_blocks_meet_others_in_each_epoch():
    """Of 20 blocks five are in the buffer, so two of them meet in 4 of 19 epochs."""
    stream, epochs = Stream(numbered(40), 10, block_size=2, buffer_size=10), 2000
    together = 0
    for epoch in range(epochs):
        contents = [set(part.y.tolist()) for part in stream.parts(epoch)]
        together += any({0, 39} <= content for content in contents)
    share = 4 / 19
    assert abs(together - epochs * share) < 5 * (epochs * share * (1 - share)) ** 0.5


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_source_says_where_its_pieces_begin(shuffle):
    class InPieces(ArraySource):
        bounds = np.array([0, 7, 8, 30])
        asked = ()

        def read(self, start, stop):
            self.asked = (*self.asked, (start, stop))
            return super().read(start, stop)

    source = InPieces(np.zeros((30, 1)), np.arange(30))
    for options, expected in (
        ({}, [(0, 7), (7, 8), (8, 30)]),
        ({"block_size": 15}, [(0, 15), (15, 30)]),
    ):
        stream = Stream(source, 5, shuffle=shuffle, **options)
        source.asked = ()
        list(stream.parts(0))
        assert sorted(source.asked) == expected
        assert shuffle or list(source.asked) == expected


def test_sizes_follow_from_how_many_numbers_a_row_has():
    wide = Stream(ArraySource(np.zeros((9, 1 << 21)), np.zeros(9)), batch_size=2)
    assert wide.buffer_size == 4  # of 8 M numbers, each row having some more than 2 M
    narrow = Stream(ArraySource(np.zeros((9, 1)), np.zeros(9)), batch_size=2)
    assert narrow.buffer_size == 1 << 22


def test_a_batch_size_above_the_number_of_rows_is_that_number():
    assert Stream(numbered(5), 100).batch_size == 5


class NoRows:
    def __len__(self):
        return 0

    def read(self, start, stop):
        raise AssertionError


class TooFew(ArraySource):
    def read(self, start, stop):
        return super().read(start, max(stop - 1, 1))


class Sparse:
    def __len__(self):
        return 3

    def read(self, start, stop):
        return csr_array((stop - start, 2)), np.zeros(stop - start), None


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Stream(Sparse(), 1), TypeError, r"source gives sparse rows \(csr_array\), which"),
        (lambda: Stream(np.zeros((3, 2)), 1), TypeError, "source must have read.* found ndarray"),
        (lambda: Stream([1], 1), TypeError, r"make it an ArraySource\(X, y\)"),
        (lambda: Stream(NoRows(), 1), ValueError, "source has no rows"),
        (lambda: Stream(numbered(3), 0), ValueError, "batch_size must be"),
        (lambda: Stream(numbered(3), 2.0), TypeError, "batch_size must be an integer"),
        (lambda: Stream(numbered(3), 1, seed=-1), ValueError, "seed must be"),
        (lambda: Stream(numbered(3), 1, shuffle=1), TypeError, "shuffle must be True or False"),
        (lambda: Stream(numbered(3), 1, block_size=0), ValueError, "block_size must be"),
        (lambda: Stream(numbered(3), 1, buffer_size=0), ValueError, "buffer_size must be"),
        (
            lambda: order(Stream(TooFew([[1], [2]], [1, 2]), 1, shuffle=False)),
            ValueError,
            r"rows 0 to 2 of the source: read\(start, stop\) has returned 1 examples",
        ),
    ],
)
def test_bad_streams_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


OUT_OF_CORE = """
import sys
from pathlib import Path
import numpy as np
import fastbatch as fb
from fastbatch.data import ArraySource, Stream

def resident(name):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) >> 10  # MB

net = fb.Network([fb.Dense(1)], 1024, "squared_error")
trainer = fb.Trainer(net, batch_size=64)
small = np.zeros((64, 1024), np.float32)
trainer.fit(batches=Stream(ArraySource(small, small[:, 0]), 64))  # all that is loaded is loaded
X, y = sys.argv[1:]
if sys.argv[0] == "map":
    X, y = np.load(X, mmap_mode="r"), np.load(y, mmap_mode="r")
Path("/proc/self/clear_refs").write_text("5")  # the peak is counted from here on
before = resident("VmRSS")
trainer.fit(batches=Stream(ArraySource(X, y), 64, block_size=256, buffer_size=2048))
print(trainer.history[-1].step, resident("VmHWM") - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="as Linux counts resident memory")
@pytest.mark.parametrize("given", ["path", "map"])
def test_a_file_of_400_mb_takes_less_than_80_mb(tmp_path, given):
    """Shuffled, and with every page of it read."""
    rows = 100_000
    paths = [tmp_path / "X.npy", tmp_path / "y.npy"]
    for path, shape in zip(paths, [(rows, 1024), (rows,)], strict=True):
        np.lib.format.open_memmap(path, "w+", np.float32, shape)  # zeros that take no disk
    code = OUT_OF_CORE.replace("sys.argv[0]", repr(given))
    output = subprocess.run(
        [sys.executable, "-c", code, *map(str, paths)], check=True, capture_output=True, text=True
    ).stdout
    steps, growth = map(int, output.split())
    assert steps == 1 + -(-rows // 64)
    assert 0 < growth < 80


@pytest.mark.parametrize(
    "bounds", [[0, 7], [1, 30], [0, 7, 7, 30], [0, 9, 8, 30], [0.0, 30.0], [30]]
)
def test_bounds_of_a_source_that_do_not_cover_its_rows_are_refused(bounds):
    class Pieces(ArraySource):
        pass

    source = Pieces(np.zeros((30, 1)), np.zeros(30))
    source.bounds = bounds
    with pytest.raises(ValueError, match="must rise from 0 to its 30 rows"):
        Stream(source, batch_size=4)


@pytest.mark.parametrize("first", [True, False])
def test_weights_of_some_rows_only_are_refused(first):
    class Some(ArraySource):
        def read(self, start, stop):
            X, y, _ = super().read(start, stop)
            return X, y, np.ones(len(X)) if (start < 15) == first else None

    stream = Stream(Some(np.zeros((30, 1)), np.zeros(30)), 30, block_size=10)
    with pytest.raises(ValueError, match="weights for some rows only"):
        list(stream.batches(epoch=0))


def test_an_epoch_goes_on_only_with_as_many_batches():
    stream = Stream(ArraySource(np.zeros((30, 1)), np.zeros(30)), batch_size=10)
    with pytest.raises(ValueError, match="interrupted after 4 batches, but the stream has only 3"):
        list(stream.parts(epoch=0, done=4))
