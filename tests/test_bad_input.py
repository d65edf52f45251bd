"""Bad input is refused before anything is computed: expected, found, cure."""

import numpy as np
import pytest
from scipy.sparse import csr_array

import fastbatch as fb
from fastbatch.data import ArraySource

X = np.arange(12.0).reshape(6, 2)
LABELS = np.array([0, 1, 2, 0, 1, 2])
INF, NAN = float("inf"), float("nan")


def network(loss="cross_entropy", outputs=3, **options):
    return fb.Network([fb.Dense(outputs)], inputs=2, loss=loss, backend="reference", **options)


def spoiled(array, value):
    array = np.array(array, dtype=float)
    array.flat[3] = value
    return array


BAD_EXAMPLES = [
    (X[:, :1], ValueError, r"X must have shape \(N, 2\), found \(6, 1\)"),
    (X.reshape(3, 2, 2), ValueError, r"X must have shape \(N, 2\), found \(3, 2, 2\)"),
    (X[0], ValueError, r"found shape \(2,\): use X\.reshape\(1, -1\)"),
    (3.0, ValueError, r"X must have shape \(N, 2\), found \(\)"),
    (X[:5], ValueError, r"y must have one entry for each of the 5 examples"),
    (spoiled(X, NAN), ValueError, r"X\[1, 1\] is nan, expected finite"),
    (spoiled(X, -INF), ValueError, r"X\[1, 1\] is -inf, expected finite"),
    (spoiled(X, 1e300), ValueError, r"X\[1, 1\] is 1e\+300, too large for float32"),
    (X.astype(object), TypeError, r"X must hold real numbers, found dtype object: convert"),
    (X.astype(complex), TypeError, r"found dtype complex128: use X\.real"),
    (X.astype(str), TypeError, r"found dtype <U\d+: encode names"),
    (X.astype("M8[s]"), TypeError, r"found dtype datetime64\[s\]: convert it to numbers"),
    (csr_array(X[:, :1]), ValueError, r"X must have shape \(N, 2\), found \(6, 1\)"),
    (csr_array(X[:5]), ValueError, r"y must have one entry for each of the 5 examples"),
    (csr_array(X.astype(complex)), TypeError, r"found dtype complex128: use X\.real"),
    (csr_array(spoiled(X, NAN)), ValueError, r"X\[1, 1\] is nan, expected finite"),
    (csr_array(spoiled(X, 1e300)), ValueError, r"X\[1, 1\] is 1e\+300, too large for float32"),
    (None, TypeError, r"found dtype object"),
]
BAD_LABELS = [
    (LABELS[:5], ValueError, r"y must have one entry for each of the 6 examples, found shape \(5,"),
    (1, ValueError, r"found shape \(\)"),
    (LABELS + 1, ValueError, r"y\[2\] is 3, expected labels in \[0, 3\)"),
    (LABELS - 1, ValueError, r"y\[0\] is -1, expected labels in \[0, 3\)"),
    (np.uint64(2**63) + LABELS.astype(np.uint64), ValueError, r"expected labels in \[0, 3\)"),
    (spoiled(LABELS, 0.5), ValueError, r"y\[3\] is 0\.5, expected integer labels"),
    (spoiled(LABELS, NAN), ValueError, r"y\[3\] is nan, expected integer labels"),
    (spoiled(LABELS, INF), ValueError, r"y\[3\] is inf, expected integer labels"),
    (LABELS.reshape(-1, 1), ValueError, r"found \(6, 1\): use y\.ravel\(\) for labels"),
    (np.eye(2)[LABELS % 2], ValueError, r"labels \(6,\) or probabilities \(6, 3\), found \(6, 2\)"),
    (np.eye(3)[LABELS] * 2, ValueError, r"y\[0, 0\] is 2.0, expected targets in \[0, 1\]"),
    (np.eye(3)[LABELS] / 2, ValueError, r"probabilities y\[0\] sum to 0.5, expected 1"),
    (spoiled(np.eye(3)[LABELS], NAN), ValueError, r"y\[1, 0\] is nan"),
    (LABELS.astype(object), TypeError, r"y must hold real numbers, found dtype object"),
    (LABELS.astype(complex), TypeError, r"y must hold real numbers, found dtype complex"),
    (["a", "b", "c"] * 2, TypeError, r"encode names as numbers"),
    (csr_array(np.eye(3)[LABELS]), TypeError, r"dense array, found csr_array: use y\.toarray\(\)"),
]
BAD_WEIGHTS = [
    ([1, 1], ValueError, r"sample_weight must have shape \(6,\), one for each example"),
    (spoiled(np.ones(6), -1), ValueError, r"sample_weight\[3\] is -1.0, expected no negative"),
    (spoiled(np.ones(6), NAN), ValueError, r"sample_weight\[3\] is nan"),
    (np.zeros(6), ValueError, r"sample_weight is 0 everywhere"),
    (
        spoiled(np.ones(6), 1e290),
        ValueError,
        r"sample_weight\[3\] is 1e\+290, (too large for float32|expected weights up to 1e\+289)",
    ),
    (["a"] * 6, TypeError, r"sample_weight must hold real numbers"),
]
BAD_PARAMETERS = [
    (np.zeros(8), ValueError, r"theta must have shape \(9,\), .* found \(8,\)"),
    (np.zeros((1, 9)), ValueError, r"theta must have shape \(9,\), .* found \(1, 9\)"),
    (np.zeros(9, complex), TypeError, r"theta must hold real numbers"),
    ("theta", TypeError, r"theta must hold real numbers"),
]


@pytest.mark.parametrize(("bad", "error", "message"), BAD_EXAMPLES)
def test_bad_examples_are_refused(bad, error, message):
    net, trainer = network(), fb.Trainer(network())
    with pytest.raises(error, match=message):
        net.value_and_grad(net.init(seed=0), bad, LABELS)
    with pytest.raises(error, match=message):
        trainer.fit(bad, LABELS)
    assert trainer.step == 0


@pytest.mark.parametrize(("bad", "error", "message"), BAD_LABELS)
def test_bad_labels_are_refused(bad, error, message):
    net, trainer = network(), fb.Trainer(network())
    with pytest.raises(error, match=message):
        net.losses(net.init(seed=0), X, bad)
    with pytest.raises(error, match=message):
        trainer.fit(X, bad)
    assert trainer.step == 0


@pytest.mark.parametrize(("bad", "error", "message"), BAD_WEIGHTS)
def test_bad_weights_are_refused(bad, error, message):
    net = network(dtype="float64")
    trainer = fb.Trainer(net)
    with pytest.raises(error, match=message):
        net.value_and_grad(net.init(seed=0), X, LABELS, bad)
    with pytest.raises(error, match=message):
        trainer.fit(X, LABELS, sample_weight=bad)
    assert trainer.step == 0


@pytest.mark.parametrize(("bad", "error", "message"), BAD_PARAMETERS)
def test_bad_parameters_are_refused(bad, error, message):
    net = network()
    for use in net.unflatten, lambda theta: net.predict(theta, X):
        with pytest.raises(error, match=message):
            use(bad)
    with pytest.raises(error, match=message):
        fb.Trainer(net, theta=bad)
    trainer = fb.Trainer(net)
    with pytest.raises(error, match=message):
        trainer.theta = bad


@pytest.mark.parametrize(
    ("loss", "outputs", "bad", "message"),
    [
        ("squared_error", 1, X, r"y must have shape \(6, 1\), found \(6, 2\): give the last layer"),
        ("squared_error", 2, X[:, 0], r"y must have shape \(6, 2\), found \(6,\)"),
        ("squared_error", 2, spoiled(X, NAN), r"y\[1, 1\] is nan"),
        ("binary_cross_entropy", 1, LABELS, r"y\[2, 0\] is 2.0, expected targets in \[0, 1\]"),
        ("poisson", 1, LABELS - 1, r"y\[0, 0\] is -1.0, expected targets in \[0, inf\]"),
    ],
)
def test_bad_targets_are_refused(loss, outputs, bad, message):
    with pytest.raises(ValueError, match=message):
        fb.Trainer(network(loss, outputs)).fit(X, bad)


def test_an_empty_batch_is_refused_where_a_mean_is_taken():
    net = network()
    nothing = np.empty((0, 2)), np.empty(0, int)
    with pytest.raises(ValueError, match="X has no examples"):
        net.value_and_grad(net.init(seed=0), *nothing)
    with pytest.raises(ValueError, match="X has no examples"):
        fb.Trainer(net).fit(*nothing)
    with pytest.raises(ValueError, match="X has no examples"):
        fb.Trainer(net).fit(X, LABELS, validation=nothing)


def test_bad_validation_data_are_refused_by_name():
    trainer = fb.Trainer(network())
    with pytest.raises(ValueError, match=r"validation X\[1, 1\] is nan"):
        trainer.fit(X, LABELS, validation=(spoiled(X, NAN), LABELS))
    with pytest.raises(ValueError, match=r"validation y\[0\] is 5"):
        trainer.fit(X, LABELS, validation=(X, LABELS + 5))
    for bad in (X,), X, "data":
        with pytest.raises(TypeError, match="validation must be a pair"):
            trainer.fit(X, LABELS, validation=bad)
    with pytest.raises(TypeError, match=r"found ArraySource: give source.read\(0, len\(source\)\)"):
        trainer.fit(X, LABELS, validation=ArraySource(X, LABELS))
    assert trainer.step == 0


def test_a_look_for_nan_can_be_saved():
    net = network("squared_error", 1)
    assert np.isnan(net.predict(net.init(seed=0), spoiled(X, NAN), check_finite=False)).any()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: fb.Dense(0), ValueError, r"units must be an integer in \[1, inf\), found 0"),
        (lambda: fb.Dense(2.0), TypeError, r"units must be an integer, found 2.0 \(float\)"),
        (lambda: fb.Dense(True), TypeError, "units must be an integer"),
        (
            lambda: fb.Dense(2, "rleu"),
            ValueError,
            r"unknown activation 'rleu': did you mean 'relu'",
        ),
        (lambda: fb.Dense(2, "?"), ValueError, r"unknown activation '\?': known are identity"),
        (lambda: fb.Dense(2, None), TypeError, r"activation must be a name, one of identity"),
        (lambda: network("cross_entrpy"), ValueError, "did you mean 'cross_entropy'"),
        (lambda: network(dtype="float23"), ValueError, "unknown dtype 'float23': did you mean"),
        (lambda: network(dtype=int), ValueError, "unknown dtype 'int64'"),
        (lambda: fb.Network([], 2, "huber"), ValueError, "at least one layer"),
        (lambda: fb.Network(fb.Dense(2), 2, "huber"), TypeError, "layers must be a list"),
        (lambda: fb.Network(3, 2, "huber"), TypeError, "layers must be a list"),
        (lambda: fb.Network([3], 2, "huber"), TypeError, "a layer must be a Dense, a"),
        (lambda: fb.GaussianSample(0), ValueError, "latent must be an integer in"),
        (lambda: fb.Network([fb.GaussianSample(2)], 4, "huber"), ValueError, "cannot be the first"),
        (
            lambda: fb.Network([fb.Dense(3), fb.GaussianSample(2)], 4, "huber"),
            ValueError,
            "takes 4 inputs, 2 means and as many logarithms of variances, found 3: put Dense",
        ),
        (lambda: fb.Dropout(1.0), ValueError, r"rate must be a finite number in \[0, 1\), found 1"),
        (lambda: fb.Dropout(-0.1), ValueError, "rate must be a finite number in"),
        (lambda: fb.Dropout(NAN), ValueError, "rate must be a finite number in"),
        (lambda: fb.Dropout("half"), TypeError, "rate must be a number"),
        (
            lambda: fb.Network([fb.Dense(2), fb.Dropout(0.5)], 2, "huber"),
            ValueError,
            "cannot be the last layer: put a Dense behind it",
        ),
        (lambda: fb.Network([fb.Dropout(0.5)], 2, "huber"), ValueError, "cannot be the last layer"),
        (
            lambda: fb.Network([fb.Dropout(0.5), fb.Dropout(0.1), fb.Dense(2)], 2, "huber"),
            ValueError,
            r"Dropout\(rate=0\.1\) stands behind another Dropout: make them one",
        ),
        (
            lambda: fb.Network([fb.Dropout(0.5), fb.GaussianSample(1), fb.Dense(2)], 2, "huber"),
            ValueError,
            r"GaussianSample\(latent=1\) cannot be the first layer",
        ),
        (
            lambda: fb.Network([fb.Dense(2)], 2, "huber", dropping=1),
            TypeError,
            "dropping must be True or False",
        ),
        (
            lambda: fb.Network([fb.Dense(2)], 2, "huber").with_dropout(-1),
            ValueError,
            "draw must be",
        ),
        (lambda: fb.Network([fb.Dense(2)], 2, "huber", draw=-1), ValueError, "draw must be an int"),
        (lambda: fb.Network([fb.Dense(2)], 0, "huber"), ValueError, "inputs must be an integer in"),
        (
            lambda: fb.Network([fb.Dense(2)], 2, "huber", backend="gpu"),
            ValueError,
            r"unknown backend 'gpu': .*known are cpu, reference, cuda",
        ),
        (lambda: network().init(seed=-1), ValueError, r"seed must be an integer in \[0, 18446"),
        (lambda: network().init(seed=2**64), ValueError, "seed must be an integer in"),
        (lambda: fb.Trainer("net"), TypeError, "network must be a Network, found str"),
        (lambda: fb.Trainer(network(), "adan"), ValueError, "did you mean 'adam'"),
        (lambda: fb.Trainer(network(), 0.1), TypeError, "optimizer must be one of fastbatch's"),
        (lambda: fb.Trainer(network(), batch_size=0), ValueError, "batch_size must be"),
        (lambda: fb.Trainer(network(), batch_size=-3), ValueError, "found -3"),
        (lambda: fb.Trainer(network(), batch_size=2.5), TypeError, "batch_size must be an integer"),
        (lambda: fb.Trainer(network(), seed=-1), ValueError, "seed must be"),
        (
            lambda: fb.Trainer(network(), sampler="shufle"),
            ValueError,
            r"unknown sampler 'shufle': did you mean 'shuffle'\? known are shuffle, sequential",
        ),
        (lambda: fb.Trainer(network(), sampler=3), TypeError, "sampler must be a name"),
        (lambda: fb.Trainer(network(), clip=1.0), TypeError, "clip must be a PerExampleClip, such"),
        (
            lambda: fb.Trainer(network(), clip=fb.PerExampleClip([1, 2], per_layer=True)),
            ValueError,
            "a bound for each of the 1 layers with parameters, found 2",
        ),
        (
            lambda: fb.Trainer(network(), clip=fb.PerExampleClip(), noise=1.1),
            TypeError,
            "noise must be a GaussianNoise, such",
        ),
        (
            lambda: fb.Trainer(network(), noise=fb.GaussianNoise(1.0)),
            ValueError,
            r"noise needs clip: .* give clip=PerExampleClip",
        ),
        (lambda: fb.Trainer(network(), l2=-1.0), ValueError, "l2 must be a finite number in"),
        (lambda: fb.Trainer(network(), l2="1"), TypeError, "l2 must be a number"),
        (lambda: fb.GaussianNoise(-1.0), ValueError, "multiplier must be a finite number"),
        (lambda: fb.GaussianNoise(NAN), ValueError, "multiplier must be a finite number"),
        (lambda: fb.GaussianNoise("1"), TypeError, "multiplier must be a number"),
        (lambda: fb.GaussianNoise(1.0, seed=-1), ValueError, "seed must be an integer in"),
        (lambda: fb.GaussianNoise(1.0, seed=2**64), ValueError, "seed must be an integer in"),
        (
            lambda: fb.Trainer(network(), monitor="losses"),
            TypeError,
            "monitor must be a list of names, found 'losses'",
        ),
        (lambda: fb.Trainer(network(), monitor=3), TypeError, "monitor must be a list of names"),
        (
            lambda: fb.Trainer(network(), monitor=["loss"]),
            ValueError,
            "unknown monitor 'loss': did you mean 'losses'",
        ),
        (lambda: fb.Trainer(network(), monitor=[3]), TypeError, "monitor must be a name"),
        (lambda: fb.Trainer(network(), theta=[NAN] * 9), ValueError, r"theta\[0\] is nan"),
        (lambda: fb.Trainer(network()).fit(X, LABELS, epochs=0), ValueError, "epochs must be"),
        (lambda: fb.Trainer(network()).fit(X, LABELS, epochs=1.5), TypeError, "epochs must be"),
        (
            lambda: fb.Trainer(network()).fit(X, LABELS, callbacks=[3]),
            TypeError,
            "a callback must be callable, found 3",
        ),
        (
            lambda: fb.Trainer(network()).fit(X, LABELS, callbacks=print),
            TypeError,
            "callbacks must be a list of callables",
        ),
        (lambda: fb.EarlyStopping(patience=0), ValueError, "patience must be"),
        (lambda: fb.EarlyStopping(min_delta=-1.0), ValueError, "min_delta must be"),
        (lambda: fb.EarlyStopping(monitor="val_loss"), ValueError, "did you mean"),
        (lambda: fb.EarlyStopping(restore_best=0), TypeError, "restore_best must be True or"),
        (lambda: fb.Checkpoint("x", every=0), ValueError, "every must be"),
        (lambda: fb.set_threads(0), ValueError, "n must be an integer"),
    ],
)
def test_bad_options_are_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"reduction": "avg"}, ValueError, "unknown reduction 'avg': known are mean, sum, none"),
        ({"scale": NAN}, ValueError, "scale must be a finite number"),
        ({"scale": INF}, ValueError, "scale must be a finite number"),
        ({"scale": "big"}, TypeError, "scale must be a number"),
    ],
)
def test_bad_reductions_are_refused(options, error, message):
    net = network()
    with pytest.raises(error, match=message):
        net.value_and_grad(net.init(seed=0), X, LABELS, **options)


EXAMPLES = X, LABELS
PER_EXAMPLE = {
    "gradient_norms": lambda net, theta, X, y: net.gradient_norms(theta, X, y),
    "clipped_gradient": lambda net, theta, X, y: net.clipped_gradient(theta, X, y, 1.0),
    "gradient_statistics": lambda net, theta, X, y: net.gradient_statistics(theta, X, y),
    "directional_derivatives": lambda net, theta, X, y: net.directional_derivatives(
        theta, X, y, np.ones(9)
    ),
    "per_example_gradients": lambda net, theta, X, y: net.per_example_gradients(theta, X, y),
    "iterate": lambda net, theta, X, y: net.iterate_per_example_gradients(theta, X, y),
}
BAD_ARGUMENTS = [
    *((0, *row) for row in BAD_PARAMETERS),
    *((1, *row) for row in BAD_EXAMPLES),
    *((2, *row) for row in BAD_LABELS),
]


@pytest.mark.parametrize("method", PER_EXAMPLE)
@pytest.mark.parametrize(("place", "bad", "error", "message"), BAD_ARGUMENTS)
def test_methods_of_each_example_refuse_what_others_do(method, place, bad, error, message):
    net, arguments = network(), [np.zeros(9), X, LABELS]
    arguments[place] = bad
    with pytest.raises(error, match=message):
        PER_EXAMPLE[method](net, *arguments)


@pytest.mark.parametrize(
    ("use", "error", "message"),
    [
        (lambda net, t: net.gradient_norms(t, *EXAMPLES, per_layer=1), TypeError, "per_layer must"),
        (
            lambda net, t: net.directional_derivatives(t, *EXAMPLES, np.ones(8)),
            ValueError,
            r"direction must have shape \(9,\), one entry for each parameter .* found \(8,\)",
        ),
        (
            lambda net, t: net.directional_derivatives(t, *EXAMPLES, ["a"] * 9),
            TypeError,
            "direction must hold real numbers",
        ),
        (lambda net, t: net.gradient_gram(t, X, None), TypeError, "ya must hold real numbers"),
        (lambda net, t: net.gradient_gram(t, X[:5], LABELS), ValueError, "ya must have one entry"),
        (
            lambda net, t: net.gradient_gram(t, *EXAMPLES, X),
            TypeError,
            "yb is missing, found only Xb: give both or none",
        ),
        (
            lambda net, t: net.gradient_gram(t, *EXAMPLES, yb=LABELS),
            TypeError,
            "Xb is missing, found only yb",
        ),
        (
            lambda net, t: net.gradient_gram(t, *EXAMPLES, spoiled(X, NAN), LABELS),
            ValueError,
            r"Xb\[1, 1\] is nan",
        ),
        (
            lambda net, t: net.gradient_gram(t, *EXAMPLES, X, LABELS + 1),
            ValueError,
            r"yb\[2\] is 3, expected labels",
        ),
        (
            lambda net, t: net.tangent_kernel(t, X[:, :1]),
            ValueError,
            r"Xa must have shape \(N, 2\)",
        ),
        (lambda net, t: net.tangent_kernel(t, X, X[0]), ValueError, r"Xb must be a matrix of"),
        (lambda net, t: net.tangent_kernel(t[:8], X), ValueError, r"theta must have shape \(9,\)"),
        (lambda net, t: net.output_jacobian(t, spoiled(X, INF)), ValueError, r"X\[1, 1\] is inf"),
        (
            lambda net, t: net.gradient_statistics(t, X[:0], LABELS[:0]),
            ValueError,
            "X has no examples",
        ),
        (
            lambda net, t: net.clipped_gradient(t, X[:0], LABELS[:0], 1.0),
            ValueError,
            "X has no examples",
        ),
        (
            lambda net, t: net.iterate_per_example_gradients(t, *EXAMPLES, rows=2.0),
            TypeError,
            "rows must be an integer",
        ),
    ],
)
def test_bad_questions_about_each_example_are_refused(use, error, message):
    with pytest.raises(error, match=message):
        use(network(), np.zeros(9))


@pytest.mark.parametrize(("bad", "error", "message"), BAD_WEIGHTS)
def test_bad_weights_of_gradients_are_refused(bad, error, message):
    net, theta = network(), np.zeros(9)
    with pytest.raises(error, match=message):
        net.clipped_gradient(theta, *EXAMPLES, 1.0, sample_weight=bad)
    with pytest.raises(error, match=message):
        net.gradient_statistics(theta, *EXAMPLES, bad)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"max_norm": 0.0}, ValueError, "max_norm must be positive, found 0.0"),
        ({"max_norm": -1}, ValueError, "max_norm must be positive, found -1"),
        ({"max_norm": NAN}, ValueError, "max_norm must be a finite number"),
        ({"max_norm": INF}, ValueError, "max_norm must be a finite number"),
        ({"max_norm": "1"}, TypeError, "max_norm must be a number, found '1'"),
        ({"max_norm": None}, TypeError, "max_norm must be a number, found None"),
        ({"max_norm": (1.0,)}, ValueError, r"max_norm must be one number, .* need per_layer=True"),
        (
            {"max_norm": (1.0, -2.0), "per_layer": True},
            ValueError,
            r"max_norm\[1\] must be positive, found -2.0",
        ),
        ({"max_norm": 1.0, "per_layer": 1}, TypeError, "per_layer must be True or False"),
        ({"max_norm": 1.0, "automatic": None}, TypeError, "automatic must be True or False"),
        ({"max_norm": 1.0, "gamma": 0.0}, ValueError, "gamma must be positive, found 0.0"),
        ({"max_norm": 1.0, "gamma": INF}, ValueError, "gamma must be a finite number"),
    ],
)
def test_bad_clipping_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        fb.PerExampleClip(**options)
    with pytest.raises(error, match=message):
        network().clipped_gradient(np.zeros(9), *EXAMPLES, **options)


def test_bounds_for_other_layers_are_refused():
    with pytest.raises(
        ValueError, match="a bound for each of the 1 layers with parameters, found 2"
    ):
        network().clipped_gradient(np.zeros(9), *EXAMPLES, (1.0, 2.0), per_layer=True)


@pytest.mark.parametrize("scale", [NAN, INF])
def test_a_clipped_sum_has_a_finite_scale(scale):
    with pytest.raises(ValueError, match="scale must be a finite number"):
        network().clipped_gradient(np.zeros(9), *EXAMPLES, 1.0, scale)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"0.wieght": np.zeros((2, 3))}, ValueError, "unknown parameter '0.wieght': did you mean"),
        ({"0.weight": np.zeros((3, 2))}, ValueError, r"must have shape \(2, 3\), found \(3, 2\)"),
        ({"0.bias": ["a", "b", "c"]}, TypeError, "0.bias must hold real numbers"),
    ],
)
def test_flatten_refuses_what_does_not_fit(change, error, message):
    net = network()
    with pytest.raises(error, match=message):
        net.flatten(net.unflatten(np.zeros(9)) | change)
    with pytest.raises(ValueError, match=r"parameter '0.bias' of shape \(3,\) is missing"):
        net.flatten({"0.weight": np.zeros((2, 3))})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("columns", [3, 1024])
def test_predict_says_where_a_number_is_not_finite(columns, bad, backend):
    net = fb.Network([fb.Dense(4, "relu"), fb.Dense(1)], columns, "huber", backend=backend)
    X = np.ones((500, columns), np.float32)
    X[311, 2] = bad
    with pytest.raises(ValueError, match=r"X\[311, 2\] is "):
        net.predict(net.init(seed=0), X)
    assert len(net.predict(net.init(seed=0), X, check_finite=False)) == 500
