"""The optimizers against PyTorch's own trajectories, and against its formulas, scalar by scalar."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from fastbatch.kernels.reference.optimizers import update
from fastbatch.optimizers import OPTIMIZERS, Adam, RMSprop

GOLDEN = json.loads(Path(__file__).with_name("torch_trajectories.json").read_text())
every_variant = pytest.mark.parametrize(
    "variant",
    GOLDEN["variants"],
    ids=lambda v: "-".join([v["name"], *(f"{k}={x}" for k, x in v["hyperparameters"].items())]),
)


def run(variant, dtype):
    """Theta after each step, (steps, P), and the slots at the end."""
    optimizer = OPTIMIZERS[variant["name"]](**variant["hyperparameters"])
    theta = np.array(GOLDEN["start"], dtype)
    slots = np.zeros((optimizer.slots, theta.size), dtype)
    curvature, minimum = np.array(GOLDEN["curvature"], dtype), np.array(GOLDEN["minimum"], dtype)
    visited = []
    for step, lr in enumerate(GOLDEN["learning_rates"]):
        update(theta, slots, curvature * (theta - minimum), optimizer, lr, step)
        visited.append(theta.copy())
    return np.array(visited), slots


@every_variant
def test_float64_trajectory_equals_that_of_pytorch(variant):
    visited, _ = run(variant, "float64")
    np.testing.assert_allclose(visited, variant["trajectory"], rtol=1e-12, atol=1e-14)


@every_variant
def test_float32_trajectory_is_near_and_stays_float32(variant):
    visited, slots = run(variant, "float32")
    assert visited.dtype == slots.dtype == np.float32
    np.testing.assert_allclose(visited, variant["trajectory"], rtol=2e-4, atol=1e-5)


@every_variant
def test_trajectory_and_slots_equal_the_documented_formulas_for_each_parameter(variant):
    visited, slots = run(variant, "float64")
    for k in range(len(GOLDEN["start"])):
        thetas, state = SCALAR_RULES[variant["name"]](k, **variant["hyperparameters"])
        np.testing.assert_allclose(visited[:, k], thetas, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(slots[:, k], state, rtol=1e-12, atol=1e-300)


# The pseudocode of torch.optim's documentation, for parameter k alone, with t counting from 1.
# Each returns theta after each step and the state at the end, in the order of the slots.


def steps():
    return enumerate(GOLDEN["learning_rates"], start=1)


def slope(k, theta):
    return GOLDEN["curvature"][k] * (theta - GOLDEN["minimum"][k])


def scalar_sgd(k, momentum, nesterov, weight_decay):
    theta, b, thetas = GOLDEN["start"][k], None, []
    for t, lr in steps():
        g = slope(k, theta)
        if weight_decay != 0:
            g = g + weight_decay * theta
        if momentum != 0:
            b = momentum * b + g if t > 1 else g
            g = g + momentum * b if nesterov else b
        theta = theta - lr * g
        thetas.append(theta)
    return thetas, [b] if momentum else []


def scalar_adam(k, beta1, beta2, eps, weight_decay, decoupled=False):
    theta, m, v, thetas = GOLDEN["start"][k], 0.0, 0.0, []
    for t, lr in steps():
        g = slope(k, theta)
        if decoupled:
            theta = theta - lr * weight_decay * theta
        else:
            g = g + weight_decay * theta
        m = beta1 * m + (1 - beta1) * g
        v = beta2 * v + (1 - beta2) * g**2
        m_hat = m / (1 - beta1**t)
        v_hat = v / (1 - beta2**t)
        theta = theta - lr * m_hat / (math.sqrt(v_hat) + eps)
        thetas.append(theta)
    return thetas, [m, v]


def scalar_adamw(k, **hyper):
    return scalar_adam(k, **hyper, decoupled=True)


def scalar_rmsprop(k, alpha, eps, momentum, centered, weight_decay):
    theta, v, b, mean, thetas = GOLDEN["start"][k], 0.0, 0.0, 0.0, []
    for _, lr in steps():
        g = slope(k, theta)
        if weight_decay != 0:
            g = g + weight_decay * theta
        v = alpha * v + (1 - alpha) * g**2
        v_tilde = v
        if centered:
            mean = mean * alpha + (1 - alpha) * g
            v_tilde = v_tilde - mean**2
        if momentum > 0:
            b = momentum * b + g / (math.sqrt(v_tilde) + eps)
            theta = theta - lr * b
        else:
            theta = theta - lr * g / (math.sqrt(v_tilde) + eps)
        thetas.append(theta)
    return thetas, [v, *([b] if momentum else []), *([mean] if centered else [])]


def scalar_adagrad(k, lr_decay, eps, weight_decay):
    theta, total, thetas = GOLDEN["start"][k], 0.0, []
    for t, lr in steps():
        g = slope(k, theta)
        lr_t = lr / (1 + (t - 1) * lr_decay)
        if weight_decay != 0:
            g = g + weight_decay * theta
        total = total + g**2
        theta = theta - lr_t * g / (math.sqrt(total) + eps)
        thetas.append(theta)
    return thetas, [total]


SCALAR_RULES = {
    "sgd": scalar_sgd,
    "adam": scalar_adam,
    "adamw": scalar_adamw,
    "rmsprop": scalar_rmsprop,
    "adagrad": scalar_adagrad,
}


def test_centered_rmsprop_survives_a_variance_rounded_below_zero():
    optimizer = RMSprop(alpha=0.1, centered=True)
    theta, slots = np.zeros(100, "float32"), np.zeros((2, 100), "float32")
    gradient = np.linspace(0.1, 1, 100, dtype="float32")
    for step in range(20):  # with a constant gradient s and c**2 become equal but for rounding
        update(theta, slots, gradient, optimizer, 1e-9, step)
    assert (slots[0] < slots[1] ** 2).any()
    assert np.isfinite(theta).all()


def test_first_step_of_adam_by_hand():
    # The corrected moments are g and g**2, so the step is lr * sign(g).
    theta, slots = np.array([1.0, 1.0, 1.0]), np.zeros((2, 3))
    update(theta, slots, np.array([5.0, -0.01, 0.0]), Adam(), 0.25, 0)
    np.testing.assert_allclose(theta, [0.75, 1.25, 1.0], rtol=1e-6)
    np.testing.assert_allclose(slots, [[0.5, -0.001, 0], [0.025, 1e-7, 0]], rtol=1e-12)
