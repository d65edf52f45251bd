"""PyTorch, eager, with its fused Adam; every step gathers its rows from tensors in memory."""

import torch
from torch.nn import functional

from bench.peers.contest import Contest, cores
from bench.peers.torch_network import build


def main(compiled=False):
    """Race; with torch.compile around net, loss of a batch and Adam's step, or without."""
    wrap = torch.compile if compiled else lambda function: function
    adam = {"foreach": False} if compiled else {"fused": True}  # the faster one of each
    contest = Contest()
    torch.set_num_threads(cores())
    X, y = torch.from_numpy(contest.X), torch.from_numpy(contest.y)

    def start():
        """A fresh network, and a function that trains it for an epoch."""
        net = build(contest)
        optimizer = torch.optim.Adam(net.parameters(), contest.lr, **adam)
        update = wrap(optimizer.step)

        @wrap
        def batch_loss(rows):
            p, target = net(X.index_select(0, rows)), y.index_select(0, rows)
            if contest.loss == "cross_entropy":
                return functional.cross_entropy(p, target)
            return functional.mse_loss(p, target, reduction="sum") / len(rows)

        def epoch(order):
            for rows in order.split(contest.batch_size):
                optimizer.zero_grad()
                batch_loss(rows).backward()
                update()

        return net, epoch

    @torch.inference_mode()
    def outputs(net):
        return net(X)

    initial = wrap(build(contest))
    before = outputs(initial)
    net, epoch = start()
    epoch(torch.arange(len(X)))
    after = outputs(net)

    net, epoch = start()
    epoch(torch.randperm(len(X)))
    contest.ready(f"torch {torch.__version__}", before, after)
    while contest.again("train"):
        epoch(torch.randperm(len(X)))
    while contest.again("forward"):
        outputs(initial)


if __name__ == "__main__":
    main()
