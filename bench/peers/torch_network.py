"""What the PyTorch contenders share: the network, and the loss of each example."""

import torch
from torch.nn import functional


def build(contest):
    """The network with the initial parameters."""
    activation = {
        "relu": torch.nn.ReLU,
        "tanh": torch.nn.Tanh,
        "gelu": torch.nn.GELU,
        "identity": torch.nn.Identity,
    }[contest.activation]
    modules = []
    for weight, bias in contest.weights:
        linear = torch.nn.Linear(*weight.shape, dtype=torch.from_numpy(weight).dtype)
        with torch.no_grad():
            linear.weight.copy_(torch.from_numpy(weight.T))
            linear.bias.copy_(torch.from_numpy(bias))
        modules += [linear, activation()]
    return torch.nn.Sequential(*modules[:-1])


def losses(contest, p, target):
    """The loss (B,) of each example, from outputs (B, K)."""
    if contest.loss == "cross_entropy":
        return functional.cross_entropy(p, target, reduction="none")
    return functional.mse_loss(p, target, reduction="none").sum(dim=1)
