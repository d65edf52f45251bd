"""Opacus without noise: hooks keep every example's gradient, its optimizer clips and sums them."""

import opacus
import torch
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer, DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping

from bench.peers.contest import Contest, cores
from bench.peers.torch_network import build, losses


def main(ghost=False):
    """Race; `ghost`: norms without gradients, then a second backward pass with weighted losses."""
    contest = Contest()
    torch.set_num_threads(cores())
    X, y = torch.from_numpy(contest.X), torch.from_numpy(contest.y)

    class MeanLoss(torch.nn.Module):
        reduction = "mean"  # which Opacus changes to "none" and back

        def forward(self, p, target):
            each = losses(contest, p, target)
            return each.mean() if self.reduction == "mean" else each

    net, loss = build(contest), MeanLoss()
    sgd = torch.optim.SGD(net.parameters(), contest.lr)
    options = {
        "noise_multiplier": 0.0,
        "max_grad_norm": contest.clip,
        "expected_batch_size": contest.batch_size,
    }
    if ghost:
        module = GradSampleModuleFastGradientClipping(net, max_grad_norm=contest.clip)
        optimizer = DPOptimizerFastGradientClipping(sgd, **options)
        loss = DPLossFastGradientClipping(module, optimizer, loss)
    else:
        module = GradSampleModule(net)
        optimizer = DPOptimizer(sgd, **options)

    def epoch(order):
        for rows in order.split(contest.batch_size):
            optimizer.zero_grad()
            p = module(X.index_select(0, rows))
            loss(p, y.index_select(0, rows)).backward()
            optimizer.step()

    @torch.inference_mode()
    def outputs():
        return net(X)

    before = outputs()
    epoch(torch.arange(len(X)))
    after = outputs()
    contest.ready(f"opacus {opacus.__version__}", before, after)
    while contest.again("train"):
        epoch(torch.randperm(len(X)))


if __name__ == "__main__":
    main()
