"""Into which blocks a batch is cut where there are many examples for few parameters."""

from fastbatch.kernels import plan
from fastbatch.kernels.plan import DenseOp, Plan


def plan_of(inputs, outputs):
    return Plan((DenseOp(inputs, outputs, "identity"),), "squared_error", "float32")


def test_two_workers_have_as_much_to_do():
    for batch_size in range(plan.BLOCK + 1, 1025):
        block = plan_of(4, 3).block(batch_size)
        assert block <= plan.BLOCK
        assert block % 4 == 0  # or the sums of losses would show where chunks end
        blocks = -(-batch_size // block)
        assert blocks % 2 == 0
        halves = blocks // 2 * block, batch_size - blocks // 2 * block
        assert halves[0] - halves[1] < 4 * blocks  # what comes of the multiples of 4


def test_blocks_pay_for_few_parameters_and_many_examples():
    few, many = plan_of(255, 512), plan_of(256, 512)  # 131,072 parameters, and 512 more
    assert few.block(128) == 0
    assert few.block(1023) == 0  # 128 parameters for each example
    assert few.block(1024) == 128
    assert many.block(1 << 20) == 0
