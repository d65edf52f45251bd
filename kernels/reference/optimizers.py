"""The optimizers, as PyTorch defines them (torch.optim in its documentation, version 2), and SGLD.

Each updates theta and its state arrays, the slots, in place. All parameters decay, biases too.
In the formulas g is the gradient, t the step counted from 1, and all products are elementwise.
The argument `step` counts from 0.
"""

import math

import numpy as np


@np.errstate(over="ignore", invalid="ignore")  # as in `network`: the next loss will tell
def update(
    theta,  # (P,), changed
    slots,  # (optimizer.slots, P), changed
    gradient,  # (P,)
    optimizer,  # its name and hyper-parameters
    lr,
    step,
):
    """One step of `optimizer` with learning rate `lr`."""
    OPTIMIZERS[optimizer.name](theta, slots, gradient, optimizer, lr, step)


def sgd(theta, slots, gradient, optimizer, lr, step):
    """Stochastic gradient descent.

    With weight decay d and momentum mu (Sutskever, Martens, Dahl and Hinton, ICML 2013, in
    PyTorch's form, where lr multiplies the whole buffer)::

        g     <- g + d theta
        b     <- mu b + g
        g     <- g + mu b  if nesterov, else b
        theta <- theta - lr g
    """
    direction = gradient + optimizer.weight_decay * theta
    if optimizer.momentum:
        (buffer,) = slots
        buffer[:] = optimizer.momentum * buffer + direction
        direction = direction + optimizer.momentum * buffer if optimizer.nesterov else buffer
    theta -= lr * direction


def adam(theta, slots, gradient, optimizer, lr, step):
    """Adam (Kingma and Ba, ICLR 2015, algorithm 1), weight decay d added to the gradient.

    ::

        g     <- g + d theta
        m     <- beta1 m + (1 - beta1) g
        v     <- beta2 v + (1 - beta2) g**2
        theta <- theta - lr m / (1 - beta1**t) / (sqrt(v / (1 - beta2**t)) + eps)
    """
    _adam(theta, slots, gradient + optimizer.weight_decay * theta, optimizer, lr, step)


def adamw(theta, slots, gradient, optimizer, lr, step):
    """Adam with decoupled weight decay d (Loshchilov and Hutter, ICLR 2019, algorithm 2).

    ::

        theta <- (1 - lr d) theta

    and then the step of `adam` without weight decay.
    """
    theta *= 1 - lr * optimizer.weight_decay
    _adam(theta, slots, gradient, optimizer, lr, step)


def _adam(theta, slots, gradient, optimizer, lr, step):
    """What `adam` and `adamw` share: all but weight decay."""
    mean, square = slots
    mean[:] = optimizer.beta1 * mean + (1 - optimizer.beta1) * gradient
    square[:] = optimizer.beta2 * square + (1 - optimizer.beta2) * gradient**2
    correction1 = 1 - optimizer.beta1 ** (step + 1)
    correction2 = 1 - optimizer.beta2 ** (step + 1)
    root = np.sqrt(square) / math.sqrt(correction2)
    theta -= lr / correction1 * mean / (root + optimizer.eps)


def rmsprop(theta, slots, gradient, optimizer, lr, step):
    """RMSprop (Hinton's lecture 6, 2012; centered: Graves, arXiv:1308.0850, equations 38 to 41).

    With weight decay d and momentum mu::

        g     <- g + d theta
        s     <- alpha s + (1 - alpha) g**2
        c     <- alpha c + (1 - alpha) g         if centered, else 0
        b     <- mu b + g / (sqrt(s - c**2) + eps)
        theta <- theta - lr b

    The slots are s, then b if mu > 0, then c if centered. Rounding can leave s - c**2 below 0,
    where PyTorch goes on with NaN; here it counts as 0.
    """
    square, *others = slots
    gradient = gradient + optimizer.weight_decay * theta
    square[:] = optimizer.alpha * square + (1 - optimizer.alpha) * gradient**2
    variance = square
    if optimizer.centered:
        mean = others[-1]
        mean[:] = optimizer.alpha * mean + (1 - optimizer.alpha) * gradient
        variance = np.maximum(square - mean**2, 0)
    direction = gradient / (np.sqrt(variance) + optimizer.eps)
    if optimizer.momentum:
        buffer = others[0]
        buffer[:] = optimizer.momentum * buffer + direction
        direction = buffer
    theta -= lr * direction


def adagrad(theta, slots, gradient, optimizer, lr, step):
    """Adagrad (Duchi, Hazan and Singer, JMLR 12, 2011), with PyTorch's learning-rate decay.

    With weight decay d::

        g     <- g + d theta
        s     <- s + g**2
        theta <- theta - lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps)
    """
    (square_sum,) = slots
    gradient = gradient + optimizer.weight_decay * theta
    square_sum += gradient**2
    theta -= lr / (1 + step * optimizer.lr_decay) * gradient / (np.sqrt(square_sum) + optimizer.eps)


def sgld(theta, slots, gradient, optimizer, lr, step):
    """Stochastic gradient Langevin dynamics (Welling and Teh, ICML 2011, equation 4).

    With step size e (the argument `lr`), prior precision p, temperature T and xi from N(0, 1)::

        theta <- theta - e / 2 (g + p theta) + sqrt(e T) xi

    The last term is in the gradient already: noise of `noise_deviation`, times -e / 2.
    """
    theta -= lr / 2 * (gradient + optimizer.prior_precision * theta)


def noise_deviation(optimizer, lr):
    """Standard deviation of what `sgld` wants added to the gradient; 0 for a step of size 0."""
    return 2 * math.sqrt(optimizer.temperature / lr) if lr else 0.0


OPTIMIZERS = {rule.__name__: rule for rule in (sgd, adam, adamw, rmsprop, adagrad, sgld)}
