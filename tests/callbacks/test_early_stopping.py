"""Early stopping ends training when nothing has improved for some epochs."""

import numpy as np
import pytest
from stand_in import Trainer

import fastbatch as fb


def stopped_at(stop, values, name="validation_loss"):
    """The epoch at which it stops, and the trainer with theta as it is then."""
    trainer = Trainer()
    for epoch, value in enumerate(values, start=1):
        if stop(trainer, trainer.close(**{name: value})):
            return epoch, trainer
    return None, trainer


def test_early_stopping_waits_for_its_patience_and_restores_the_best():
    stop = fb.EarlyStopping(patience=3)
    epoch, trainer = stopped_at(stop, [5.0, 3.0, 4.0, 3.0, 3.5, 1.0])
    assert epoch == 5
    assert trainer.theta == stop.best_theta == 2
    assert stop.best.epoch == 2


def test_early_stopping_may_leave_the_last_parameters():
    stop = fb.EarlyStopping(patience=1, restore_best=False)
    epoch, trainer = stopped_at(stop, [1.0, 2.0])
    assert epoch == trainer.theta == 2
    assert stop.best_theta is None and stop.best.epoch == 1


def test_an_improvement_must_exceed_min_delta():
    values = [10.0, 9.6, 9.2, 8.8]
    assert stopped_at(fb.EarlyStopping(patience=2, min_delta=0.5), values)[0] is None
    assert stopped_at(fb.EarlyStopping(patience=2, min_delta=2.0), values)[0] == 3


def test_a_metric_is_to_rise_and_a_loss_is_to_fall():
    rising = [0.1, 0.2, 0.3, 0.4]
    metric = fb.EarlyStopping(patience=2, monitor="validation_metric")
    assert stopped_at(metric, rising, "validation_metric")[0] is None
    loss = fb.EarlyStopping(patience=2, monitor="loss")
    assert stopped_at(loss, rising, "loss")[0] == 3


@pytest.mark.parametrize(("name", "rises"), [("auc", True), ("log_loss", False)])
def test_a_metric_of_fit_goes_where_it_is_better(name, rises):
    rising = [{name: value} for value in (0.1, 0.2, 0.3, 0.4)]
    stop = fb.EarlyStopping(patience=2, monitor=name)
    assert stopped_at(stop, rising, "metrics")[0] == (None if rises else 3)


def test_nan_is_no_improvement():
    assert stopped_at(fb.EarlyStopping(patience=2), [np.nan, np.nan, 1.0])[0] == 2


def test_a_stopped_run_has_its_patience_again():
    stop = fb.EarlyStopping(patience=2)
    assert stopped_at(stop, [1.0, 2.0, 2.0])[0] == 3
    assert stopped_at(stop, [2.0, 2.0])[0] == 2


@pytest.mark.parametrize(
    ("monitor", "cure"),
    [
        ("validation_loss", r"give fit validation=\(X, y\), or"),
        ("auc", r"give fit validation=\(X, y\) and metrics=\['auc'\]"),
    ],
)
def test_early_stopping_asks_for_what_it_watches(classifier, classes, monitor, cure):
    with pytest.raises(ValueError, match=cure):
        fb.Trainer(classifier).fit(*classes, callbacks=[fb.EarlyStopping(monitor=monitor)])


def test_early_stopping_ends_a_real_run_at_its_best(classifier, classes):
    X, y = classes
    stop = fb.EarlyStopping(patience=3)
    trainer = fb.Trainer(classifier, fb.Adam(0.1), batch_size=16)
    trainer.fit(X[:30], y[:30], epochs=500, validation=(X[30:], y[30:]), callbacks=[stop])
    losses = [record.validation_loss for record in trainer.history]
    assert len(losses) < 500 and np.argmin(losses) == len(losses) - 4
    np.testing.assert_allclose(
        classifier.losses(trainer.theta, X[30:], y[30:]).mean(), min(losses), rtol=1e-6
    )
