"""The machine's limit: fused multiply-adds from registers to registers, and nothing else.

``python -m bench.peak`` prints it.  Measure it in the same run as what is compared with it:
clock rates wander.
"""

from time import perf_counter

import numba
import numpy as np
from llvmlite import ir
from numba import prange, types
from numba.extending import intrinsic

from fastbatch import get_threads
from fastbatch.kernels.cpu.jit import entry, jit, tile_shape
from fastbatch.kernels.cpu.memory import pointer_to, store_unaligned
from fastbatch.kernels.cpu.simd import VECTOR_BYTES, Vector, broadcast, call_llvm, element, suffix

# Independent sums: two units with a latency of four cycles need 8, or 4 where the hardware cuts a
# vector in two and has only 16 registers.
_SUMS = 10 if tile_shape() == "wide" else 6
_SECONDS = 0.01  # of a round
_ROUNDS = 20


@intrinsic(prefer_literal=True)
def _sums_in_registers(typingctx, sums, like, turns):
    """Let `sums` (a literal) vectors do ``x = x / 2 + 1`` `turns` times; return one vector."""
    ty = Vector(like.dtype)

    def lower(context, builder, sig, args):
        def constant(value):
            return broadcast(builder, ir.Constant(element(ty.dtype), value), ty.lanes)

        turns, half, one = args[2], constant(0.5), constant(1.0)
        # Different at the start, or the compiler keeps a single one; and none is 2, which stays 2.
        initial = [turns, *(constant(3.0 + n) for n in range(sums.literal_value))]
        start = builder.block
        loop = builder.append_basic_block("peak.loop")
        end = builder.append_basic_block("peak.end")
        builder.branch(loop)

        builder.position_at_end(loop)
        left, *before = (builder.phi(value.type) for value in initial)
        after = [
            call_llvm(builder, f"llvm.fma.{suffix(ty)}", x.type, [x, half, one]) for x in before
        ]
        next_left = builder.sub(left, ir.Constant(left.type, 1))
        for phi, first, then in zip((left, *before), initial, (next_left, *after), strict=True):
            phi.add_incoming(first, start)
            phi.add_incoming(then, loop)
        builder.cbranch(builder.icmp_signed(">", next_left, ir.Constant(left.type, 0)), loop, end)

        builder.position_at_end(end)
        total = after[0]
        for x in after[1:]:
            total = builder.fadd(total, x)
        return total

    return ty(sums, like, types.intp), lower


@jit(parallel=True)
def _on_all(out, turns):
    for worker in prange(len(out)):
        place = pointer_to(out[worker])
        store_unaligned(place, _sums_in_registers(_SUMS, place, turns))


@entry
def _loop(out, turns):
    """Each row of `out` (workers, lanes) is one worker's result, kept so that the work is done."""
    if len(out) == 1:
        place = pointer_to(out)
        store_unaligned(place, _sums_in_registers(_SUMS, place, turns))
    else:
        _on_all(out, turns)


def peak(dtype="float32", threads=None):
    """Billions of floating-point operations per second, a fused multiply-add counting as two.

    The best of some rounds of 10 ms: what disturbs them is not the machine's limit.

    Parameters
    ----------
    dtype : {"float32", "float64"}
    threads : int, optional
        All that fastbatch uses, if not given.
    """
    threads = get_threads() if threads is None else threads
    lanes = VECTOR_BYTES // np.dtype(dtype).itemsize
    out = np.empty((threads, lanes), dtype)
    numba.set_num_threads(threads)
    turns = 1000  # the first two calls compile, and find out how many fill a round
    for _ in range(2):
        _loop(out, turns)
        start = perf_counter()
        _loop(out, turns)
        turns = int(turns * _SECONDS / (perf_counter() - start)) + 1
    seconds = []
    for _ in range(_ROUNDS):
        start = perf_counter()
        _loop(out, turns)
        seconds.append(perf_counter() - start)
    np.testing.assert_allclose(out, _SUMS * 2.0, err_msg="the loop did not converge to 2")
    return 2 * _SUMS * out.size * turns / min(seconds) / 1e9


def main():
    """Print the limit of one thread and of all."""
    for dtype in "float32", "float64":
        for threads in sorted({1, get_threads()}):
            print(f"{dtype}, {threads} thread(s): {peak(dtype, threads):.0f} GFLOP/s")


if __name__ == "__main__":
    main()
