"""Import fastbatch and train one step, in a process of its own: ``python -m bench.first_step``.

Prints as JSON how long both took, and the losses before and after the step.  Making the data lies
between the two and is not timed.
"""

import json
from time import perf_counter


def main():
    start = perf_counter()
    import fastbatch as fb

    import_seconds = perf_counter() - start

    from bench.cells import LR, ONE_STEP, network

    theta, X, y, _ = ONE_STEP.data("float32")
    start = perf_counter()
    trainer = fb.Trainer(
        network(ONE_STEP), fb.Adam(LR), batch_size=ONE_STEP.batch_size, theta=theta
    )
    (record,) = trainer.fit(X, y)
    first_step_seconds = perf_counter() - start
    after = trainer.network.losses(trainer.theta, X, y).mean(dtype="float64")
    report = {
        "import_seconds": import_seconds,
        "first_step_seconds": first_step_seconds,
        "before": record.loss,
        "after": float(after),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
