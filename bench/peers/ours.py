"""fastbatch as its users have it: one long `Trainer.fit`, whose callback takes the turns."""

import fastbatch as fb
from bench.peers.contest import Contest


def main():
    contest = Contest()
    X, y = contest.X, contest.y
    *hidden, outputs = contest.widths[1:]
    layers = [*(fb.Dense(width, contest.activation) for width in hidden), fb.Dense(outputs)]
    net = fb.Network(layers, contest.widths[0], contest.loss, dtype=contest.theta.dtype.name)

    def trainer(sampler):
        """One that has trained its first epoch."""
        trainer = fb.Trainer(
            net,
            fb.SGD(contest.lr) if contest.clip else fb.Adam(contest.lr),
            batch_size=contest.batch_size,
            sampler=sampler,
            clip=fb.PerExampleClip(contest.clip) if contest.clip else None,
            theta=contest.theta,
        )
        trainer.fit(X, y)
        return trainer

    before = net.predict(contest.theta, X)
    after = trainer("sequential").predict(X)

    shuffled = trainer("shuffle")
    gram = net.gradient_gram(contest.theta, X, y) if contest.gram else None
    contest.ready(f"fastbatch {fb.__version__}", before, after, gram)
    if contest.again("train"):
        endless = 10**9
        shuffled.fit(X, y, epochs=endless, callbacks=[lambda *_: not contest.again("train")])
    while contest.again("forward"):
        net.predict(contest.theta, X)
    while contest.again("gram"):
        net.gradient_gram(contest.theta, X, y)


if __name__ == "__main__":
    main()
