"""One worker or many: the clock decides, here a clock that the tests turn."""

import pytest

from fastbatch.kernels.cpu.threads import Pace


class Machine:
    """Steps take `seconds` by the number of workers; so long they have worked: `spent`."""

    def __init__(self, alone, together):
        self.seconds = {1: alone, 2: together}
        self.spent = {1: 0.0, 2: 0.0}
        self.now = 0.0

    def work(self, pace, seconds):
        end = self.now + seconds
        self.spent = {1: 0.0, 2: 0.0}
        while self.now < end:
            workers, steps = pace.choose()
            assert steps >= 1
            duration = steps * self.seconds[workers]
            self.now += duration
            self.spent[workers] += duration
            pace.record(workers, duration, steps)

    def share(self, workers):
        """Of the time, how much such steps have taken."""
        return self.spent[workers] / (self.spent[1] + self.spent[2])


@pytest.mark.parametrize(
    ("alone", "together", "faster"), [(50e-6, 30e-6, 2), (50e-6, 60e-6, 1), (20e-6, 5e-3, 1)]
)
def test_the_faster_way_gets_nearly_all_the_time(alone, together, faster):
    machine, pace = Machine(alone, together), Pace(2)
    machine.work(pace, 1.0)
    machine.work(pace, 10.0)
    assert machine.share(faster) > 0.98


def test_a_change_of_fortune_is_noticed():
    machine, pace = Machine(50e-6, 30e-6), Pace(2)
    machine.work(pace, 1.0)
    assert machine.share(2) > 0.95
    machine.seconds[2] = 5e-3  # somebody else wants the cores
    machine.work(pace, 0.5)
    machine.work(pace, 1.0)
    assert machine.share(1) > 0.9
    machine.seconds[2] = 30e-6
    machine.work(pace, Pace.LAST_PAUSE)
    machine.work(pace, 1.0)
    assert machine.share(2) > 0.95


def test_the_clock_is_looked_at_often_enough_to_answer_an_interrupt():
    pace = Pace(2)
    machine = Machine(1e-6, 2e-6)
    machine.work(pace, 0.5)
    _, steps = pace.choose()
    assert steps * machine.seconds[1] < 0.02


def test_long_steps_are_seldom_tried_the_slower_way():
    machine, pace = Machine(0.13, 0.065), Pace(2)
    machine.work(pace, 1.0)  # what is believed to be faster comes first, the other way once
    assert machine.spent[1] == pytest.approx(0.13)
    machine.work(pace, 60.0)
    assert 0.13 <= machine.spent[1] < 0.05 * 60
