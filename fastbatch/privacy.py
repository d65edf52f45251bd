"""Differential privacy: the noise that hides each example, and how well it does."""

import secrets
from collections import Counter
from dataclasses import dataclass, field

from fastbatch.constraints import integer, real
from fastbatch.network import SEEDS

Mechanism = tuple[float, float]  # probability of being sampled, noise multiplier


@dataclass(frozen=True)
class GaussianNoise:
    """Gaussian noise in the gradient of each step, so that no example's share can be made out.

    To the sum of the clipped gradients is added noise whose standard deviation, in each parameter,
    is `multiplier` times the largest norm that one of them can have, before the sum is divided by
    the batch size: Abadi et al. 2016, "Deep learning with differential privacy", algorithm 1.
    ``Trainer.privacy_spent`` says what that is worth.

    Parameters
    ----------
    multiplier : float
        Not negative.
    seed : int, optional
        Of the noise; the trainer's if None.

    Raises
    ------
    ValueError, TypeError
        If an argument is out of range or of the wrong kind.

    Examples
    --------
    >>> GaussianNoise(1.1)
    GaussianNoise(multiplier=1.1, seed=None)
    """

    multiplier: float
    seed: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "multiplier", real("multiplier", self.multiplier))
        if self.seed is not None:
            object.__setattr__(self, "seed", integer("seed", self.seed, 0, SEEDS))


def secure_seed() -> int:
    """A seed that nobody can guess, from the system's source of randomness.

    Whoever knows the seed of a trainer can work out its samples and its noise, so that nothing is
    hidden. A training for privacy therefore begins with ``Trainer(..., seed=secure_seed())``.

    Returns
    -------
    int
        In [0, 2**64).

    Examples
    --------
    >>> 0 <= secure_seed() < 2**64
    True
    """
    return secrets.randbits(64)


@dataclass
class Ledger:
    """Which mechanism the steps of a training were: what an accountant has to know.

    Attributes
    ----------
    entries : list of (int, Mechanism or None)
        From which step on it was which; None where examples were not hidden.
    """

    entries: list[tuple[int, Mechanism | None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for number, (step, mechanism) in enumerate(self.entries):
            if mechanism is not None:  # in a checkpoint it is a list
                rate, multiplier = mechanism
                mechanism = real("rate", rate), real("multiplier", multiplier)
            self.entries[number] = integer("step", step, 0), mechanism

    def begin(self, step: int, mechanism: Mechanism | None) -> None:
        """From this step on it is this one."""
        if not self.entries or self.entries[-1][1] != mechanism:
            self.entries.append((step, mechanism))

    def check(self, until: int) -> None:
        """Raise ValueError unless it accounts for each step until this one."""
        starts = [step for step, _ in self.entries]
        if (until and starts[:1] != [0]) or [*starts, until] != sorted([*starts, until]):
            raise ValueError(f"the ledger has entries from steps {starts} on, of {until} steps")

    def steps(self, until: int) -> Counter[Mechanism | None]:
        """How many steps of each there were, until this one."""
        counts: Counter[Mechanism | None] = Counter()
        ends = [*(step for step, _ in self.entries[1:]), until]
        for (start, mechanism), end in zip(self.entries, ends, strict=False):
            counts[mechanism] += end - start
        return +counts

    def epsilon(self, until: int, delta: float) -> float:
        """What these steps have spent, at this delta.

        Raises
        ------
        ValueError
            If a step did not hide the examples.
        ImportError
            If dp-accounting is not installed.
        """
        try:
            from dp_accounting import GaussianDpEvent, PoissonSampledDpEvent
            from dp_accounting.pld import PLDAccountant
        except ImportError as error:
            raise ImportError(
                "privacy_spent needs dp-accounting: pip install 'fastbatch[privacy]'"
            ) from error
        accountant = PLDAccountant()  # for data that differ by one example more or less
        for mechanism, count in self.steps(until).items():
            if mechanism is None:
                raise ValueError(
                    "some steps were taken with sample_weight or other options, and what they have "
                    "spent is not known: begin anew"
                )
            rate, multiplier = mechanism
            accountant.compose(PoissonSampledDpEvent(rate, GaussianDpEvent(multiplier)), count)
        return float(accountant.get_epsilon(delta))
