"""Logs have a line for each epoch at once, lose no digit, and are gone on with."""

import csv
import json
import math

import pytest
from stand_in import Trainer, record

import fastbatch as fb
from fastbatch.callbacks.logs import as_record, as_row

LOGS = pytest.mark.parametrize("kind", [fb.CSVLog, fb.JSONLinesLog])
FULL = record(
    7,
    validation_loss=1 / 3,
    validation_metric=-0.0,
    loss=1e-310,
    noise_scale=math.inf,
    gradient_norms=(0.1, 0.2, 0.3, 1e300, math.inf),
    metrics={"auc": 2 / 3, "log_loss": 5e-324},
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.log"


def write(log, *records):
    log.before_steps(Trainer())
    for one in records:
        log(Trainer(), one)


@LOGS
def test_a_run_is_read_back_as_it_was(kind, classifier, classes, path):
    trainer = fb.Trainer(classifier, monitor=["gradient_norms", "noise_scale"])
    history = trainer.fit(
        *classes,
        epochs=3,
        validation=classes,
        metrics=["auc", "top_2_accuracy"],
        callbacks=[kind(path)],
    )
    assert fb.read_log(path) == history
    assert history[0].metrics.keys() == {"auc", "top_2_accuracy"}


@LOGS
@pytest.mark.parametrize("one", [record(1), FULL], ids=["little", "all"])
def test_no_number_loses_a_bit(kind, one, path):
    write(kind(path), one)
    (found,) = fb.read_log(path)
    assert found == one
    assert math.copysign(1, found.validation_metric or 1) == math.copysign(
        1, one.validation_metric or 1
    )


@LOGS
def test_nan_is_read_back(kind, path):
    write(kind(path), record(1, loss=math.nan))
    assert math.isnan(fb.read_log(path)[0].loss)


def test_a_record_is_a_row_and_back():
    for one in (record(1), FULL):
        assert as_record(as_row(one)) == one


def test_others_can_read_them(tmp_path):
    write(fb.CSVLog(tmp_path / "run.csv"), FULL)
    with (tmp_path / "run.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(as_row(FULL)) and float(row["auc"]) == 2 / 3

    write(fb.JSONLinesLog(tmp_path / "run.jsonl"), FULL)
    (line,) = (tmp_path / "run.jsonl").read_text().splitlines()
    row = json.loads(line, parse_constant=pytest.fail)  # that is NaN or Infinity
    assert list(row) == list(as_row(FULL)) and row["noise_scale"] == "inf"


@LOGS
def test_each_line_is_there_as_soon_as_the_epoch_is_over(kind, classifier, classes, path):
    seen = []
    look = lambda trainer, record: seen.append(len(fb.read_log(path)))  # noqa: E731
    fb.Trainer(classifier).fit(*classes, epochs=3, callbacks=[kind(path), look])
    assert seen == [1, 2, 3]


@LOGS
def test_a_run_that_goes_on_appends(kind, path):
    write(kind(path), record(1), record(2))
    write(kind(path), record(3))
    assert [one.epoch for one in fb.read_log(path)] == [1, 2, 3]


@LOGS
def test_epochs_that_are_done_again_count_as_they_were_the_last_time(kind, path):
    write(kind(path), record(1, loss=1.0), record(2, loss=2.0), record(3, loss=3.0))
    write(kind(path), record(2, loss=4.0))
    assert [(one.epoch, one.loss) for one in fb.read_log(path)] == [(1, 1.0), (2, 4.0)]
    assert len(path.read_text().splitlines()) == (5 if kind is fb.CSVLog else 4)


@LOGS
def test_a_line_that_was_cut_off_is_left_out_and_then_dropped(kind, path):
    write(kind(path), record(1), record(2))
    content = path.read_bytes()
    header = content.index(b"\n") + 1 if kind is fb.CSVLog else 0
    for end in range(len(content)):
        path.write_bytes(content[:end])
        if end > header:
            assert len(fb.read_log(path)) == content[header:end].count(b"\n")
        write(kind(path), record(2))
        assert [one.epoch for one in fb.read_log(path)][-1] == 2
        assert path.read_bytes().endswith(content[-len(content.splitlines()[-1]) :])


@LOGS
@pytest.mark.parametrize("content", [b"x", b"\x00\xff binary", b"a,b\n1,2\n", b'{"a": 1}\n'])
def test_another_file_is_left_alone(kind, content, path, classifier, classes):
    path.write_bytes(content)
    trainer = fb.Trainer(classifier)
    with pytest.raises(ValueError, match=rf"is not a log that {kind.__name__} has written"):
        trainer.fit(*classes, callbacks=[kind(path)])
    assert path.read_bytes() == content and trainer.step == 0


def test_csv_wants_the_same_columns_again(path):
    write(fb.CSVLog(path), record(1))
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"has the columns epoch,.*, but this run has .*,auc:"):
        write(fb.CSVLog(path), record(2, metrics={"auc": 1.0}))
    assert path.read_bytes() == before


def test_json_lines_may_differ(path):
    write(fb.JSONLinesLog(path), record(1), FULL)
    assert fb.read_log(path) == [record(1), FULL]


@LOGS
def test_what_cannot_be_written_is_found_out_before_the_first_step(
    kind, classifier, classes, tmp_path
):
    trainer = fb.Trainer(classifier)
    for path in (tmp_path, tmp_path / "missing" / "run.log"):
        with pytest.raises(OSError):
            trainer.fit(*classes, callbacks=[kind(path)])
    assert trainer.step == 0


@pytest.mark.parametrize(
    "content",
    [
        "epoch,step\n1,2\n",
        "a;b\n1;2\n",
        '{"epoch": 1}\n',
        "{not json}\n",
        '{"epoch": 1}\n[]\n',
        "epoch,step,loss\n1,2,3,4,5\n",
        json.dumps(as_row(FULL) | {"loss": None}) + "\n",
        json.dumps(as_row(FULL) | {"epoch": 1.5}) + "\n",
        "\xff",
    ],
)
def test_what_is_no_log_is_not_read(content, path):
    path.write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=r"is not a log that .* JSONLinesLog has written$"):
        fb.read_log(path)


def test_an_empty_log_has_no_epochs(path):
    path.touch()
    assert fb.read_log(path) == []
