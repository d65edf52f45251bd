"""The contenders of the race, each a script that runs in a process of its own."""

from dataclasses import dataclass

TASKS = ("train", "forward")


@dataclass(frozen=True)
class Contender:
    """A script of this package, the modules that it cannot do without, and what it can do."""

    script: str
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()  # activations
    tasks: tuple[str, ...] = TASKS


OURS = "fastbatch"
JAX, TRAIN = ("jax", "optax"), ("train",)  # without training, the ways of JAX are one
CONTENDERS = {
    OURS: Contender("ours"),
    "jax-scan": Contender("jax_scan", JAX),
    "jax-host": Contender("jax_host", JAX, tasks=TRAIN),
    "jax-step": Contender("jax_step", JAX, tasks=TRAIN),
    "torch": Contender("torch_eager", ("torch",)),
    "torch-compile": Contender("torch_compile", ("torch",)),
    "scikit-learn": Contender("scikit_learn", ("sklearn",), lacks=("gelu",)),
}
