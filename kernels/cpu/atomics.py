"""Words of memory that several workers read and write at once, and how to wait for one."""

import ctypes
import os

from llvmlite import binding, ir
from numba import types
from numba.extending import intrinsic

from .simd import call_llvm

SPACING = 16  # words from one to the next: processors fetch cache lines in pairs
_WORD_BYTES = 8
# By the first part of a target's name: an intrinsic and its operands.
_PAUSE = {
    "x86_64": ("llvm.x86.sse2.pause", []),
    "aarch64": ("llvm.aarch64.hint", [1]),  # "yield"
    "arm64": ("llvm.aarch64.hint", [1]),
}


def _word(builder, words, index):
    return builder.gep(words, [index], source_etype=ir.IntType(64))


@intrinsic
def fetch_add(typingctx, words, index, value):
    """Add to ``words[index]`` and return what stood there; orders all other memory, both ways."""

    def lower(context, builder, sig, args):
        return builder.atomic_rmw("add", _word(builder, *args[:2]), args[2], "acq_rel")

    return types.int64(words, types.intp, types.int64), lower


@intrinsic
def acquire(typingctx, words, index):
    """Read ``words[index]``, and see all that was written before the value was released."""

    def lower(context, builder, sig, args):
        place = _word(builder, *args)
        return builder.load_atomic(place, "acquire", _WORD_BYTES, typ=ir.IntType(64))

    return types.int64(words, types.intp), lower


@intrinsic
def release(typingctx, words, index, value):
    """Write ``words[index]`` after all that was written before."""

    def lower(context, builder, sig, args):
        builder.store_atomic(args[2], _word(builder, *args[:2]), "release", _WORD_BYTES)
        return context.get_dummy_value()

    return types.none(words, types.intp, types.int64), lower


@intrinsic
def fence(typingctx):
    """Let all writes before, those past the caches too, be seen before those that follow."""

    def lower(context, builder, sig, args):
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.none(), lower


@intrinsic
def pause(typingctx):
    """Tell the processor that this is a loop that waits."""
    architecture = binding.get_process_triple().partition("-")[0]

    def lower(context, builder, sig, args):
        if architecture in _PAUSE:
            name, numbers = _PAUSE[architecture]
            operands = [ir.Constant(ir.IntType(32), number) for number in numbers]
            call_llvm(builder, name, ir.VoidType(), operands)
        return context.get_dummy_value()

    return types.none(), lower


def _address():
    """Where the system's function lies that lets another thread have this core."""
    if os.name == "nt":
        function = ctypes.WinDLL("kernel32").SwitchToThread
    else:
        function = ctypes.CDLL(None).sched_yield
    return ctypes.cast(function, ctypes.c_void_p).value


YIELD = _address()
