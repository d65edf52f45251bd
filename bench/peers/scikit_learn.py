"""scikit-learn's multi-layer perceptron; a call of `partial_fit` trains one shuffled epoch."""

import numpy as np
import sklearn
from sklearn.neural_network import MLPClassifier, MLPRegressor

from bench.peers.contest import Contest


def main():
    contest = Contest()
    classifies = contest.loss == "cross_entropy"
    X, y = contest.X, contest.y
    y = y if classifies or y.shape[1] > 1 else y[:, 0]

    class Estimator(MLPClassifier if classifies else MLPRegressor):
        def _init_coef(self, fan_in, fan_out, dtype):
            # There is no public way to begin with given parameters.
            weight, bias = contest.weights[self._n_initialised]
            assert weight.shape == (fan_in, fan_out)
            self._n_initialised += 1
            return weight.copy(), bias.copy()

    def estimator(shuffle):
        """One that has trained its first epoch."""
        model = Estimator(
            hidden_layer_sizes=contest.widths[1:-1],
            activation=contest.activation,
            batch_size=contest.batch_size,
            learning_rate_init=contest.lr,
            epsilon=1e-8 if classifies else 0.5e-8,  # it halves the squared error
            alpha=0.0,
            shuffle=shuffle,
            random_state=0,
        )
        model._n_initialised = 0
        if classifies:
            return model.partial_fit(X, y, classes=np.arange(contest.widths[-1]))
        return model.partial_fit(X, y)

    def outputs(model):
        if classifies:
            return np.log(model.predict_proba(X))
        return model.predict(X).reshape(contest.y.shape)

    initial = estimator(shuffle=False)
    after = outputs(initial)
    initial.coefs_, initial.intercepts_ = zip(*contest.weights, strict=True)
    before = outputs(initial)

    model = estimator(shuffle=True)
    contest.ready(f"scikit-learn {sklearn.__version__}", before, after)
    while contest.again("train"):
        model.partial_fit(X, y)
    while contest.again("forward"):
        initial.predict_proba(X) if classifies else initial.predict(X)


if __name__ == "__main__":
    main()
