"""PyTorch with torch.func: vmap of grad gives every example's gradient; then clip, sum, update."""

import torch
from torch.func import functional_call, grad, vmap

from bench.peers.contest import Contest, cores
from bench.peers.torch_network import build, losses


def main():
    contest = Contest()
    torch.set_num_threads(cores())
    X, y = torch.from_numpy(contest.X), torch.from_numpy(contest.y)
    net = build(contest)
    params = {name: value.detach() for name, value in net.named_parameters()}

    def loss(params, x, target):
        return losses(contest, functional_call(net, params, x[None]), target[None]).sum()

    example_gradients = vmap(grad(loss), (None, 0, 0))

    def epoch(order):
        for rows in order.split(contest.batch_size):
            batch = X.index_select(0, rows), y.index_select(0, rows)
            gradients = example_gradients(params, *batch)
            parts = [g.flatten(1).norm(dim=1) for g in gradients.values()]
            norms = torch.stack(parts).norm(dim=0)
            coefficients = (contest.clip / norms).clamp(max=1) / len(rows)
            for name, g in gradients.items():
                mean = torch.tensordot(coefficients, g, dims=1)
                params[name].sub_(mean, alpha=contest.lr)

    @torch.inference_mode()
    def outputs():
        return net(X)  # whose parameters share their memory with params

    before = outputs()
    epoch(torch.arange(len(X)))
    after = outputs()
    contest.ready(f"torch {torch.__version__}", before, after)
    while contest.again("train"):
        epoch(torch.randperm(len(X)))


if __name__ == "__main__":
    main()
