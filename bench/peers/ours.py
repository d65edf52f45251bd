"""fastbatch as its users have it: one long `Trainer.fit`, whose callback takes the turns."""

import fastbatch as fb
from bench.peers.contest import Contest


def main():
    contest = Contest()
    X, y = contest.X, contest.y
    *hidden, outputs = contest.widths[1:]
    layers = [*(fb.Dense(width, contest.activation) for width in hidden), fb.Dense(outputs)]
    net = fb.Network(layers, contest.widths[0], contest.loss, dtype=contest.theta.dtype.name)

    def trainer(shuffle):
        """One that has trained its first epoch."""
        trainer = fb.Trainer(
            net,
            fb.Adam(contest.lr),
            batch_size=contest.batch_size,
            shuffle=shuffle,
            theta=contest.theta,
        )
        trainer.fit(X, y)
        return trainer

    before = net.predict(contest.theta, X)
    after = trainer(shuffle=False).predict(X)

    shuffled = trainer(shuffle=True)
    contest.ready(f"fastbatch {fb.__version__}", before, after)
    if contest.again("train"):
        endless = 10**9
        shuffled.fit(X, y, epochs=endless, callbacks=[lambda *_: not contest.again("train")])
    while contest.again("forward"):
        net.predict(contest.theta, X)


if __name__ == "__main__":
    main()
