"""Write golden.json: the losses of short trainings, and hashes of what they end with.

Run by hand, python make_golden.py, when the kernels are meant to give other bits than before.
"""

import json
from pathlib import Path

from training_runs import RUNS, sha256, train

from fastbatch.verification import DTYPES

FILE = Path(__file__).with_name("golden.json")


def record(run, dtype):
    """The loss of each epoch, and hashes of the parameters and of the optimizer's state."""
    training = run.start(dtype)
    losses = train(training, run.epochs, run.optimizer.lr)
    return {"losses": losses, "theta": sha256(training.theta), "slots": sha256(training.slots)}


if __name__ == "__main__":
    records = {f"{name}, {dtype}": record(RUNS[name], dtype) for name in RUNS for dtype in DTYPES}
    FILE.write_text(json.dumps(records, indent=1) + "\n")
