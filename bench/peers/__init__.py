"""The contenders of the race, each a script that runs in a process of its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Contender:
    """A script of this package, and the modules that it cannot do without."""

    script: str
    needs: tuple[str, ...] = ()


OURS = "fastbatch"
CONTENDERS = {
    OURS: Contender("ours"),
    "jax-scan": Contender("jax_scan", ("jax", "optax")),
    "jax-host": Contender("jax_host", ("jax", "optax")),
    "jax-step": Contender("jax_step", ("jax", "optax")),
    "torch": Contender("torch_eager", ("torch",)),
    "torch-compile": Contender("torch_compile", ("torch",)),
    "scikit-learn": Contender("scikit_learn", ("sklearn",)),
}
