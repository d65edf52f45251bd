"""Write torch_trajectories.json: what PyTorch's own optimizers do in float64.

Run by hand where PyTorch is installed (the extra `bench`): python make_torch_trajectories.py
The tests only read the file, so they need no PyTorch.

The loss is sum(curvature * (theta - minimum)**2) / 2, so that anybody can compute its gradient.
"""

import json
from pathlib import Path

START = [1.0, -2.0, 0.5, 0.003, 40.0]
MINIMUM = [0.3, -0.7, 0.0, 1.5, -2.0]
CURVATURE = [1.0, 0.2, 5.0, 1e-3, 0.05]
LEARNING_RATES = [0.1, 0.1, 0.05, 0.05, 0.2, 0.01, 0.01, 0.1, 0.1, 0.03, 0.02, 0.01]

SGD = {"momentum": 0.0, "nesterov": False, "weight_decay": 0.0}
ADAM = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0}
RMSPROP = {"alpha": 0.99, "eps": 1e-8, "momentum": 0.0, "centered": False, "weight_decay": 0.0}
ADAGRAD = {"lr_decay": 0.0, "eps": 1e-10, "weight_decay": 0.0}

VARIANTS = [
    ("sgd", SGD),
    ("sgd", SGD | {"weight_decay": 0.1}),
    ("sgd", SGD | {"momentum": 0.9}),
    ("sgd", SGD | {"momentum": 0.8, "weight_decay": 0.1}),
    ("sgd", SGD | {"momentum": 0.9, "nesterov": True}),
    ("sgd", SGD | {"momentum": 0.7, "nesterov": True, "weight_decay": 0.1}),
    ("adam", ADAM),
    ("adam", ADAM | {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.1}),
    ("adamw", ADAM | {"weight_decay": 0.01}),
    ("adamw", ADAM | {"beta1": 0.8, "beta2": 0.95, "eps": 1e-3, "weight_decay": 0.5}),
    ("rmsprop", RMSPROP),
    ("rmsprop", RMSPROP | {"alpha": 0.9, "eps": 1e-3, "weight_decay": 0.1}),
    ("rmsprop", RMSPROP | {"momentum": 0.9}),
    ("rmsprop", RMSPROP | {"centered": True}),
    ("rmsprop", RMSPROP | {"momentum": 0.5, "centered": True, "weight_decay": 0.1}),
    ("adagrad", ADAGRAD),
    ("adagrad", ADAGRAD | {"lr_decay": 0.1}),
    ("adagrad", ADAGRAD | {"lr_decay": 0.1, "eps": 1e-3, "weight_decay": 0.1}),
]


def trajectory(name, hyperparameters):
    """Theta after each step, a list of lists."""
    import torch  # here, so that the tests can import this module without it

    classes = {
        "sgd": torch.optim.SGD,
        "adam": torch.optim.Adam,
        "adamw": torch.optim.AdamW,
        "rmsprop": torch.optim.RMSprop,
        "adagrad": torch.optim.Adagrad,
    }
    options = dict(hyperparameters)
    if "beta1" in options:
        options["betas"] = options.pop("beta1"), options.pop("beta2")
    theta = torch.tensor(START, dtype=torch.float64)
    optimizer = classes[name]([theta], lr=LEARNING_RATES[0], foreach=False, **options)
    visited = []
    for lr in LEARNING_RATES:
        optimizer.param_groups[0]["lr"] = lr
        theta.grad = torch.tensor(CURVATURE, dtype=torch.float64) * (
            theta - torch.tensor(MINIMUM, dtype=torch.float64)
        )
        optimizer.step()
        visited.append(theta.tolist())
    return visited


def main():
    golden = {
        "start": START,
        "minimum": MINIMUM,
        "curvature": CURVATURE,
        "learning_rates": LEARNING_RATES,
        "variants": [
            {
                "name": name,
                "hyperparameters": hyperparameters,
                "trajectory": trajectory(name, hyperparameters),
            }
            for name, hyperparameters in VARIANTS
        ],
    }
    path = Path(__file__).with_name("torch_trajectories.json")
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
