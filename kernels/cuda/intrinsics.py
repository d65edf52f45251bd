"""Operations of compiled CUDA code that Numba does not offer, or not with these roundings.

If any operand of arithmetic is a float32, all become one, so that Python's numbers may stand among
them; else all are float64. Each operation is rounded once, to nearest, subnormal numbers included.
"""

import functools
import itertools

from llvmlite import ir
from numba import cuda, typeof, types
from numba.cuda import dispatcher
from numba.cuda.extending import intrinsic
from numba.extending import overload

# A warning says that so few blocks as a small batch makes are a mistake.
dispatcher.config.CUDA_LOW_OCCUPANCY_WARNINGS = 0

_IS_PACKAGE = cuda.implementation == "NVIDIA"  # numba-cuda, not what Numba itself brings
_REGISTERS = 65536  # of a block, on all devices
_NUMBERS = itertools.count()


def kernel(function=None, *, threads=None):
    """Make a function one that is launched; blocks have no more than so many `threads`."""
    if function is None:
        return functools.partial(kernel, threads=threads)
    # Not by nvJitLink's compiler: by that of PTX, whose code bench.cuda_resources looks at.
    options = {"lto": False} if _IS_PACKAGE else {}
    if threads and _IS_PACKAGE:
        options["launch_bounds"] = threads, 1  # without the 1 ptxas spills to have more blocks
    elif threads:
        options["max_registers"] = min(255, _REGISTERS // threads)
    return cuda.jit(function, **options)  # jit(**options) would forget that of lto


def function(function):
    """Make a function one that kernels call.

    It becomes part of them, for else what it returns would go through memory.
    """
    options = {"forceinline": True} if _IS_PACKAGE else {}  # Numba's own inlines anyway
    return cuda.jit(function, device=True, **options)


def _of_two(builtin, result):
    """Let kernels have a builtin of two integers: Numba 0.68 has it only of any number of them."""

    @overload(builtin, target="cuda")
    def typed(x, y):
        return result if isinstance(x, types.Integer) and isinstance(y, types.Integer) else None


if not _IS_PACKAGE:  # whose kernels cannot take any number of arguments
    _of_two(min, lambda x, y: x if x < y else y)
    _of_two(max, lambda x, y: x if x > y else y)


# --- arithmetic ---------------------------------------------------------------------------


def _joint(*args):
    return types.float32 if types.float32 in args else types.float64


def _call(builder, name, args):
    """Call an LLVM intrinsic whose result is of the type of its arguments."""
    fnty = ir.FunctionType(args[0].type, [a.type for a in args])
    target = builder.module.globals.get(name) or ir.Function(builder.module, fnty, name)
    return builder.call(target, args)


@intrinsic
def fma(typingctx, x, y, z):
    """``x * y + z``, rounded once."""
    ty = _joint(x, y, z)
    name = f"llvm.fma.f{ty.bitwidth}"
    return ty(ty, ty, ty), lambda context, builder, sig, args: _call(builder, name, args)


def _nvvm(operation, ty):
    """Name of the operation that is rounded to nearest, and never becomes part of another."""
    return f"llvm.nvvm.{operation}.rn.{'f' if ty == types.float32 else 'd'}"


def _binary(operation):
    @intrinsic
    def function(typingctx, x, y):
        ty = _joint(x, y)
        name = _nvvm(operation, ty)
        return ty(ty, ty), lambda context, builder, sig, args: _call(builder, name, args)

    return function


mul, add, div = _binary("mul"), _binary("add"), _binary("div")


@intrinsic
def sub(typingctx, x, y):
    """``x - y``."""
    ty = _joint(x, y)

    def lower(context, builder, sig, args):
        x, y = args
        return _call(builder, _nvvm("add", ty), [x, builder.fsub(ir.Constant(y.type, -0.0), y)])

    return ty(ty, ty), lower


@intrinsic
def sqrt(typingctx, x):
    """The square root."""
    ty = _joint(x)
    name = _nvvm("sqrt", ty)
    return ty(ty), lambda context, builder, sig, args: _call(builder, name, args)


def _extreme(sign):
    @intrinsic
    def function(typingctx, x, y):
        ty = _joint(x, y)

        def lower(context, builder, sig, args):
            return builder.select(builder.fcmp_ordered(sign, *args), *args)

        return ty(ty, ty), lower

    return function


maximum = _extreme(">")  # NaN in either gives the second argument
minimum = _extreme("<")


@intrinsic
def select(typingctx, condition, x, y):
    """`x` where the condition holds, else `y`; both have been worked out."""
    ty = _joint(x, y)
    return ty(types.boolean, ty, ty), lambda context, builder, sig, args: builder.select(*args)


def _integer(ty):
    return ir.IntType(ty.bitwidth)


def _sign_and_magnitude(builder, ty, x):
    bits, sign = builder.bitcast(x, _integer(ty)), 1 << (ty.bitwidth - 1)
    return (
        builder.and_(bits, ir.Constant(bits.type, sign)),
        builder.and_(bits, ir.Constant(bits.type, sign - 1)),
    )


@intrinsic
def absolute(typingctx, x):
    """The magnitude."""
    ty = _joint(x)

    def lower(context, builder, sig, args):
        _, magnitude = _sign_and_magnitude(builder, ty, *args)
        return builder.bitcast(magnitude, args[0].type)

    return ty(ty), lower


@intrinsic
def copysign(typingctx, x, y):
    """The magnitude of `x` with the sign of `y`."""
    ty = _joint(x)

    def lower(context, builder, sig, args):
        _, magnitude = _sign_and_magnitude(builder, ty, args[0])
        sign, _ = _sign_and_magnitude(builder, ty, args[1])
        return builder.bitcast(builder.or_(magnitude, sign), args[0].type)

    return ty(ty, ty), lower


@intrinsic
def polynomial(typingctx, x, coefficients):
    """The sum of ``coefficients[k] * x**k`` by Horner's rule, the tuple being constant."""

    def lower(context, builder, sig, args):
        x, values = args
        terms = [
            context.cast(builder, builder.extract_value(values, k), coefficients.dtype, sig.args[0])
            for k in reversed(range(len(coefficients)))
        ]
        name = f"llvm.fma.f{sig.args[0].bitwidth}"
        return functools.reduce(lambda value, term: _call(builder, name, [value, x, term]), terms)

    return x(x, coefficients), lower


# --- what differs between dtypes ----------------------------------------------------------


def _dtype_of(like):
    return like.dtype if isinstance(like, types.Array) else like


@intrinsic
def splat(typingctx, value, like):
    """`value` in the dtype of `like`, a number or an array."""
    ty = _dtype_of(like)
    return ty(ty, like), lambda context, builder, sig, args: args[0]


def by_dtype(single, double):
    """A function of a number or array: the constant `single` for float32, else `double`."""

    @intrinsic
    def function(typingctx, like):
        value = single if _dtype_of(like) == types.float32 else double
        ty = typeof(value)

        def lower(context, builder, sig, args):
            return context.get_constant_generic(builder, ty, value)

        return ty(like), lower

    return function


# Elements in a vector of the CPU's kernels, whose order of sums we keep.
lanes = by_dtype(16, 8)


# --- bits ---------------------------------------------------------------------------------


@intrinsic
def as_bits(typingctx, x):
    """The signed integer with the bits of `x`."""
    ty = types.Integer.from_bitwidth(x.bitwidth)
    return ty(x), lambda context, builder, sig, args: builder.bitcast(args[0], _integer(ty))


def _low_bits(emit):
    @intrinsic
    def function(typingctx, n, like):
        ty = _dtype_of(like)

        def lower(context, builder, sig, args):
            n = args[0] if ty.bitwidth == 64 else builder.trunc(args[0], _integer(ty))
            return emit(builder, n, context.get_value_type(ty))

        return ty(types.int64, like), lower

    return function


# The number with the low bits of an integer, as many as the second argument has, and of its dtype.
from_bits = _low_bits(ir.IRBuilder.bitcast)
# The number nearest to an integer that has no more bits than the second argument, in its dtype.
to_float = _low_bits(ir.IRBuilder.sitofp)


# --- memory -------------------------------------------------------------------------------

_SHARED = 3  # address space


@intrinsic
def shared_array(typingctx, count, dtype):
    """`count` elements that the threads of a block share, aligned to 128 bits.

    Both are constants. Numba aligns an array to its elements only.
    """
    if not isinstance(count, types.IntegerLiteral):
        return None
    ty = types.Array(dtype.instance_type, 1, "C")

    def lower(context, builder, sig, args):
        element, size = context.get_data_type(ty.dtype), count.literal_value
        place = ir.ArrayType(element, size)
        name = f"shared_{next(_NUMBERS)}"
        memory = ir.GlobalVariable(builder.module, place, name, addrspace=_SHARED)
        memory.align, memory.initializer = 16, ir.Constant(place, ir.Undefined)
        data = builder.addrspacecast(memory, ir.IntType(8).as_pointer(), "generic")
        array = context.make_array(ty)(context, builder)
        itemsize = context.get_constant(types.intp, ty.dtype.bitwidth // 8)
        context.populate_array(
            array,
            data=builder.bitcast(data, element.as_pointer()),
            shape=[context.get_constant(types.intp, size)],
            strides=[itemsize],
            itemsize=itemsize,
            meminfo=None,
        )
        return array._getvalue()

    return ty(count, dtype), lower


def _accesses(context, builder, array, data, index):
    """Pointers by which four elements are reached, 128 bits each."""
    element = context.get_data_type(array.dtype)
    width = 128 // array.dtype.bitwidth
    for first in range(0, 4, width):
        place = builder.gep(data, [builder.add(index, ir.Constant(index.type, first))])
        yield builder.bitcast(place, ir.VectorType(element, width).as_pointer())


def _lane(k):
    return ir.Constant(ir.IntType(32), k)


@intrinsic
def load4(typingctx, array, index):
    """Four elements from `index` on, a multiple of four, of a flat array aligned to 128 bits."""

    def lower(context, builder, sig, args):
        data = context.make_array(array)(context, builder, args[0]).data
        values = []
        for place in _accesses(context, builder, array, data, args[1]):
            vector = builder.load(place, align=16)
            values += [builder.extract_element(vector, _lane(k)) for k in range(vector.type.count)]
        return context.make_tuple(builder, sig.return_type, values)

    return types.UniTuple(array.dtype, 4)(array, types.intp), lower


@intrinsic
def store4(typingctx, array, index, values):
    """Put four values at `index`, a multiple of four, of a flat array aligned to 128 bits."""

    def lower(context, builder, sig, args):
        data = context.make_array(array)(context, builder, args[0]).data
        values = [builder.extract_value(args[2], k) for k in range(4)]
        for place in _accesses(context, builder, array, data, args[1]):
            vector = ir.Constant(place.type.pointee, ir.Undefined)
            for k in range(vector.type.count):
                vector = builder.insert_element(vector, values.pop(0), _lane(k))
            builder.store(vector, place, align=16)
        return context.get_dummy_value()

    return types.none(array, types.intp, types.UniTuple(array.dtype, 4)), lower
