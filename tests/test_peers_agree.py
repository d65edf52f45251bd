"""Norms of gradients and clipped sums are those of PyTorch and Opacus, where these are installed.

They compute in float64, from every example's gradient; what may separate us is rounding alone.
"""

import numpy as np
import pytest

import fastbatch as fb
from fastbatch.rounding import Sweep
from fastbatch.verification import CASES, DROPOUT, DTYPES, SAMPLE, error_in_bounds

torch = pytest.importorskip("torch")

from torch.func import functional_call, grad, vmap  # noqa: E402
from torch.nn import functional  # noqa: E402

MODULES = {
    "identity": torch.nn.Identity,
    "relu": torch.nn.ReLU,
    "leaky_relu": torch.nn.LeakyReLU,
    "sigmoid": torch.nn.Sigmoid,
    "tanh": torch.nn.Tanh,
    "softplus": torch.nn.Softplus,
    "gelu": torch.nn.GELU,
    "silu": torch.nn.SiLU,
    "elu": torch.nn.ELU,
}
LOSSES = {
    "squared_error": functional.mse_loss,
    "absolute_error": functional.l1_loss,
    "huber": functional.huber_loss,
    "cross_entropy": functional.cross_entropy,
    "binary_cross_entropy": functional.binary_cross_entropy_with_logits,
    "poisson": functional.poisson_nll_loss,
}
SMALL = [
    case
    for case in CASES.values()
    if case.examples * case.plan("float64").size < 500_000
    and not {SAMPLE, DROPOUT} & set(case.activations)
]
OPACUS_ADDS = 1e-6  # to each norm, before it divides by it


def names(values):
    return pytest.mark.parametrize("case", values, ids=[case.name for case in values])


class Problem:
    """A case for us, and for PyTorch in float64."""

    def __init__(self, case, dtype, backend="cpu"):
        plan = case.plan(dtype)
        self.theta, self.X, self.y, self.weights = case.data(dtype)
        self.arguments = self.theta, self.X, self.y
        layers = [fb.Dense(op.outputs, op.activation) for op in plan.layers]
        self.ours = fb.Network(layers, plan.inputs, plan.loss, dtype, backend)
        self.sweep = Sweep(plan, *self.arguments)
        exact = [
            torch.from_numpy(values if values.dtype == np.int64 else values.astype(np.float64))
            for values in self.arguments
        ]
        self.torch_theta, self.torch_X, self.torch_y = exact
        self.torch = self._network(plan)
        self._loss = LOSSES[plan.loss]

    def _network(self, plan):
        modules = []
        parts = iter(self.ours.unflatten(self.torch_theta.numpy()).values())
        for op, weight, bias in zip(plan.layers, parts, parts, strict=True):
            linear = torch.nn.Linear(op.inputs, op.outputs, dtype=torch.float64)
            with torch.no_grad():
                linear.weight.copy_(torch.from_numpy(weight.T))
                linear.bias.copy_(torch.from_numpy(bias))
            modules += [linear, MODULES[op.activation]()]
        return torch.nn.Sequential(*modules)

    def losses(self, p, y):
        """The loss of each example, of its outputs p (N, K)."""
        each = self._loss(p, y, reduction="none")
        return each if each.ndim == 1 else each.sum(dim=1)

    def torch_gradients(self):
        """Every example's gradient (N, P), by torch.func."""

        def loss(params, x, y):
            return self.losses(functional_call(self.torch, params, x[None]), y[None]).sum()

        params = {name: value.detach() for name, value in self.torch.named_parameters()}
        return flat(vmap(grad(loss), (None, 0, 0))(params, self.torch_X, self.torch_y).values())


def flat(parameters):
    """Parameters of PyTorch in the order of theta, (P,), or (N, P) with a leading axis."""
    parts = [
        part.detach().transpose(-1, -2).flatten(-2) if which % 2 == 0 else part.detach()
        for which, part in enumerate(parameters)  # weights (outputs, inputs) and biases
    ]
    return torch.cat(parts, dim=-1).numpy()


def layer_norms(gradients, plan):
    """The norm of each layer's part, (N, L)."""
    ends = np.cumsum([layer.size for layer in plan.layers])
    parts = np.split(gradients, ends[:-1], axis=1)
    return np.stack([np.linalg.norm(part, axis=1) for part in parts], axis=1)


def clip_in_the_middle(gradients):
    """A clip that every other example feels; any, if none has a gradient."""
    return fb.PerExampleClip(float(np.median(np.linalg.norm(gradients, axis=1))) or 1.0)


@pytest.mark.parametrize("dtype", DTYPES)
@names(SMALL)
def test_norms_are_those_of_torch_func(case, dtype, backend):
    problem = Problem(case, dtype, backend)
    gradients = problem.torch_gradients()
    norms = problem.ours.gradient_norms(*problem.arguments)
    _, bound = problem.sweep.gradient_norms()
    assert error_in_bounds(norms, np.linalg.norm(gradients, axis=1), bound) < 1
    by_layer = problem.ours.gradient_norms(*problem.arguments, per_layer=True)
    _, bound = problem.sweep.gradient_norms(per_layer=True)
    assert error_in_bounds(by_layer, layer_norms(gradients, problem.ours.plan), bound) < 1


@pytest.mark.parametrize("dtype", DTYPES)
@names(SMALL)
def test_clipped_gradients_are_those_of_torch_func(case, dtype, backend):
    problem = Problem(case, dtype, backend)
    gradients = problem.torch_gradients()
    weights = problem.weights if problem.weights.any() else np.ones_like(problem.weights)
    clip = clip_in_the_middle(gradients)
    norms = np.linalg.norm(gradients, axis=1)
    clipped = gradients * (clip.max_norm / np.maximum(norms, clip.max_norm))[:, None]
    truth = weights @ clipped / len(weights)
    found, _ = problem.ours.clipped_gradient(
        *problem.arguments, clip.max_norm, 1 / len(weights), sample_weight=weights
    )
    (_, bound), _ = problem.sweep.clipped_gradient(weights, 1 / len(weights), clip)
    assert error_in_bounds(found, truth, bound) < 1


@pytest.mark.filterwarnings(
    "ignore:Full backward hook is firing"
)  # in Opacus, for X has no gradient
@pytest.mark.parametrize("ghost", [False, True], ids=["hooks", "ghost"])
@pytest.mark.parametrize("dtype", DTYPES)
@names([case for case in SMALL if case.loss in ("cross_entropy", "squared_error")])
def test_norms_and_clipped_gradients_are_those_of_opacus(case, dtype, ghost, backend):
    problem = Problem(case, dtype, backend)
    gradients = problem.torch_gradients()
    clip = clip_in_the_middle(gradients)
    theirs, their_norms = by_opacus(problem, clip.max_norm, ghost)

    ours, norms = problem.ours.clipped_gradient(*problem.arguments, clip.max_norm)
    count = len(norms)
    (_, bound), (_, norm_bound) = problem.sweep.clipped_gradient(None, 1 / count, clip)
    assert error_in_bounds(norms, their_norms, norm_bound) < 1
    # Their coefficient is smaller than ours by less than that, as a fraction.
    missing = OPACUS_ADDS / np.maximum(their_norms, clip.max_norm) / count
    assert error_in_bounds(ours, theirs, bound + missing @ abs(gradients)) < 1


def by_opacus(problem, max_norm, ghost):
    """The mean of the clipped gradients, (P,), and the norms before clipping, (N,)."""
    pytest.importorskip("opacus")
    from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
    from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
    from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

    class MeanLoss(torch.nn.Module):
        reduction = "mean"  # which Opacus changes

        def forward(self, p, y):
            each = problem.losses(p, y)
            return each.mean() if self.reduction == "mean" else each

    parameters = list(problem.torch.parameters())
    sgd, loss = torch.optim.SGD(parameters), MeanLoss()
    options = {
        "noise_multiplier": 0.0,
        "max_grad_norm": max_norm,
        "expected_batch_size": len(problem.X),
    }
    if ghost:
        module = GradSampleModuleFastGradientClipping(problem.torch, max_grad_norm=max_norm)
        optimizer = DPOptimizerFastGradientClipping(sgd, **options)
        loss = DPLossFastGradientClipping(module, optimizer, loss)
    else:
        module = GradSampleModule(problem.torch)
        optimizer = DPOptimizer(sgd, **options)
    loss(module(problem.torch_X), problem.torch_y).backward()
    if ghost:
        norms = module.get_norm_sample().numpy()
    else:
        norms = np.linalg.norm(flat(p.grad_sample for p in parameters), axis=1)
    optimizer.step()
    return flat(p.grad for p in parameters), norms
