"""The contenders of the race, each a script that runs in a process of its own."""

from dataclasses import dataclass

TASKS = "train", "forward", "clip", "gram", "sgld", "vae"
TRAIN, FORWARD, CLIP, GRAM, SAMPLE, VAE = TASKS


@dataclass(frozen=True)
class Contender:
    """A script of this package, the modules that it cannot do without, and what it can do."""

    script: str
    needs: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()  # activations
    tasks: tuple[str, ...] = (TRAIN, FORWARD)


OURS = "fastbatch"
JAX, TORCH, OPACUS = ("jax", "optax"), ("torch",), ("torch", "opacus")
CONTENDERS = {
    OURS: Contender("ours", tasks=TASKS),
    "jax-scan": Contender("jax_scan", JAX, tasks=(TRAIN, FORWARD, CLIP, GRAM, SAMPLE)),
    # Without training, the ways of JAX are one.
    "jax-host": Contender("jax_host", JAX, tasks=(TRAIN, CLIP, SAMPLE)),
    "jax-vae": Contender("jax_vae", JAX, tasks=(VAE,)),
    "jax-step": Contender("jax_step", JAX, tasks=(TRAIN,)),
    "torch": Contender("torch_eager", TORCH),
    "torch-compile": Contender("torch_compile", TORCH),
    "scikit-learn": Contender("scikit_learn", ("sklearn",), lacks=("gelu",)),
    "torch-func": Contender("torch_func", TORCH, tasks=(CLIP,)),
    "opacus": Contender("opacus_hooks", OPACUS, tasks=(CLIP,)),
    "opacus-ghost": Contender("opacus_ghost", OPACUS, tasks=(CLIP,)),
}
