"""Kernels that are compiled on their own and called by address.

Numba compiles a called function into every caller again, up the whole chain of calls.  The large
parts (products, activations, losses, updates, sweeps) are therefore subroutines: compiled once
for each dtype, kept on disk each for itself, their addresses handed around in the job.
"""

import inspect
import threading

from llvmlite import ir
from numba import from_dtype, types
from numba.core import cgutils
from numba.extending import intrinsic

from . import partner
from .jit import is_missing, to_machine_code
from .simd import Pointer

# One thread at a time: a second one would compile the same again, and drop what the first has got
# the address of.
_compiling = threading.Lock()


class Subroutine:
    """`function`, whose parameters are annotated `int` or `Pointer` (to the network's dtype)."""

    def __init__(self, function):
        self.function = function
        self._compiled = {}

    def address(self, dtype):
        """Where the machine code for `dtype` starts; compiles it, or loads it, the first time."""
        if dtype not in self._compiled:
            with _compiling:
                if dtype not in self._compiled:
                    self._compiled[dtype] = self._compile(dtype)
        return self._compiled[dtype].address

    def _compile(self, dtype):
        kinds = {int: types.intp, Pointer: Pointer(from_dtype(dtype))}
        parameters = inspect.signature(self.function).parameters.values()
        signature = types.void(*(kinds[p.annotation] for p in parameters))
        if is_missing(signature, self.function):
            partner.start(dtype)
        return to_machine_code(signature, self.function)


@intrinsic
def call(typingctx, address, arguments):
    """Call the subroutine at `address` with a tuple of integers and pointers."""
    if not isinstance(arguments, types.BaseTuple):
        return None

    def lower(context, builder, sig, args):
        values = [
            value if isinstance(ty, Pointer) else context.cast(builder, value, ty, types.intp)
            for ty, value in zip(arguments, cgutils.unpack_tuple(builder, args[1]), strict=True)
        ]
        function = ir.FunctionType(ir.VoidType(), [value.type for value in values])
        builder.call(builder.inttoptr(args[0], function.as_pointer()), values)
        return context.get_dummy_value()

    return types.void(types.intp, arguments), lower


@intrinsic
def record(typingctx, address, dtype):
    """The record of type `dtype` (a structured NumPy dtype) at `address`."""
    kind = dtype.dtype

    def lower(context, builder, sig, args):
        return builder.inttoptr(args[0], context.get_value_type(kind))

    return kind(types.intp, dtype), lower
