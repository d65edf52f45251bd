"""fastbatch as its users have it: one long `Trainer.fit`, whose callback takes the turns."""

import fastbatch as fb
from bench.peers.contest import Contest


def main():
    contest = Contest()
    X, y = contest.X, contest.y
    *hidden, outputs = contest.widths[1:]
    layers = [*(fb.Dense(width, contest.activation) for width in hidden), fb.Dense(outputs)]
    if contest.sample is not None:
        latent = hidden[contest.sample]
        layers[contest.sample - 1 : contest.sample + 1] = (
            fb.Dense(2 * latent),
            fb.GaussianSample(latent),
        )
    net = fb.Network(layers, contest.widths[0], contest.loss, dtype=contest.theta.dtype.name)

    def optimizer(temperature):
        if contest.sgld:
            return fb.SGLD(**contest.sgld | {"temperature": temperature})
        return fb.SGD(contest.lr) if contest.clip else fb.Adam(contest.lr)

    def trainer(sampler, temperature=1.0):
        """One that has trained its first epoch."""
        trainer = fb.Trainer(
            net,
            optimizer(temperature),
            batch_size=contest.batch_size,
            sampler=sampler,
            clip=fb.PerExampleClip(contest.clip) if contest.clip else None,
            theta=contest.theta,
        )
        trainer.fit(X, y)
        return trainer

    before = net.predict(contest.theta, X)
    cold = trainer("sequential", temperature=0.0)
    moved = trainer("sequential").theta - cold.theta

    shuffled = trainer("shuffle")
    gram = net.gradient_gram(contest.theta, X, y) if contest.gram else None
    contest.ready(f"fastbatch {fb.__version__}", before, cold.predict(X), gram, moved)
    if contest.again("train"):
        endless = 10**9
        shuffled.fit(X, y, epochs=endless, callbacks=[lambda *_: not contest.again("train")])
    while contest.again("forward"):
        net.predict(contest.theta, X)
    while contest.again("gram"):
        net.gradient_gram(contest.theta, X, y)


if __name__ == "__main__":
    main()
