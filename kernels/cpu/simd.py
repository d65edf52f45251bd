"""The vector type of the CPU kernels: 64 bytes wide on every machine, used like a number.

A `Vector` holds ``lanes(x)`` elements (16 float32 or int32, 8 float64 or int64), a `Mask` one
truth value for each of them, a `Pointer` is an address that knows its element type.  In
jitted code they take the operators a reader expects (``x * y + 1.0``, ``x < 0.0``, ``p + 16``);
the functions below do the rest.  LLVM splits a vector where the hardware is narrower, so the
rounding of every operation, and with it every bit of a result, is the same on all processors.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin, lower_cast, models, register_model

VECTOR_BYTES = 64


class Pointer(types.Type):
    """An address of elements of `dtype`; ``p + n`` steps over n of them, ``p[n]`` is one."""

    def __init__(self, dtype):
        self.dtype = dtype
        super().__init__(f"Pointer({dtype})")


class Vector(types.Type):
    """64 bytes of `dtype`."""

    def __init__(self, dtype):
        self.dtype = dtype
        self.lanes = VECTOR_BYTES * 8 // dtype.bitwidth
        super().__init__(f"Vector({dtype})")

    @property
    def is_float(self):
        return isinstance(self.dtype, types.Float)


class Mask(types.Type):
    """One truth value for each lane of a vector."""

    def __init__(self, lanes):
        self.lanes = lanes
        super().__init__(f"Mask({lanes})")


def element(dtype):
    if isinstance(dtype, types.Integer):
        return ir.IntType(dtype.bitwidth)
    return ir.FloatType() if dtype == types.float32 else ir.DoubleType()


def llvm_type(ty):
    if isinstance(ty, Pointer):
        return element(ty.dtype).as_pointer()
    if isinstance(ty, Mask):
        return ir.VectorType(ir.IntType(1), ty.lanes)
    return ir.VectorType(element(ty.dtype), ty.lanes)


def _register(ty):
    class Model(models.PrimitiveModel):
        def __init__(self, manager, fe_type):
            super().__init__(manager, fe_type, llvm_type(fe_type))

    register_model(ty)(Model)


for _ty in (Pointer, Vector, Mask):
    _register(_ty)


# --- numbers become vectors ---------------------------------------------------------------


def broadcast(builder, scalar, lanes):
    vector = ir.VectorType(scalar.type, lanes)
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    first = builder.insert_element(
        ir.Constant(vector, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0)
    )
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


@lower_cast(types.Number, Vector)
def _number_to_vector(context, builder, fromty, toty, value):
    if isinstance(fromty, types.Literal):
        fromty = fromty.literal_type
    return broadcast(builder, context.cast(builder, value, fromty, toty.dtype), toty.lanes)


def _joint(*args):
    """The vector type of an operation on vectors and plain numbers, or None."""
    vectors = {a for a in args if isinstance(a, Vector)}
    if len(vectors) == 1 and all(isinstance(a, (Vector, types.Number)) for a in args):
        return vectors.pop()
    return None


def _cast_all(context, builder, sig, args, to):
    return [
        value if ty == to else _number_to_vector(context, builder, ty, to, value)
        for ty, value in zip(sig.args, args, strict=True)
    ]


# --- operators ----------------------------------------------------------------------------


def _operator(op, *, floats, integers, compares=False):
    """Teach jitted code ``op(vector, vector)``; a plain number on either side is broadcast."""

    @infer_global(op)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            joint = _joint(*args)
            if joint is None or (floats if joint.is_float else integers) is None:
                return None
            return signature(Mask(joint.lanes) if compares else joint, joint, joint)

    def lower(context, builder, sig, args):
        emit = floats if sig.args[0].is_float else integers
        return emit(builder, *args)

    lower_builtin(op, Vector, Vector)(lower)


_B = ir.IRBuilder
_operator(operator.add, floats=_B.fadd, integers=_B.add)
_operator(operator.iadd, floats=_B.fadd, integers=_B.add)
_operator(operator.sub, floats=_B.fsub, integers=_B.sub)
_operator(operator.mul, floats=_B.fmul, integers=_B.mul)
_operator(operator.truediv, floats=_B.fdiv, integers=None)
_operator(operator.lshift, floats=None, integers=_B.shl)
_operator(operator.rshift, floats=None, integers=_B.ashr)
_operator(operator.and_, floats=None, integers=_B.and_)
_operator(operator.or_, floats=None, integers=_B.or_)
_operator(operator.xor, floats=None, integers=_B.xor)
for _op, _sign in (
    (operator.lt, "<"),
    (operator.le, "<="),
    (operator.gt, ">"),
    (operator.ge, ">="),
    (operator.eq, "=="),
    (operator.ne, "!="),
):
    # Ordered except !=: a comparison with NaN is false, and x != x finds NaN.
    _float = _B.fcmp_unordered if _sign == "!=" else _B.fcmp_ordered
    _operator(
        _op,
        floats=lambda b, x, y, emit=_float, sign=_sign: emit(b, sign, x, y),
        integers=lambda b, x, y, sign=_sign: b.icmp_signed(sign, x, y),
        compares=True,
    )


def _mask_operator(op, emit):
    @infer_global(op)
    class Typing(AbstractTemplate):
        def generic(self, args, kws):
            if len(args) == 2 and isinstance(args[0], Mask) and args[0] == args[1]:
                return signature(args[0], *args)
            return None

    lower_builtin(op, Mask, Mask)(lambda context, builder, sig, args: emit(builder, *args))


_mask_operator(operator.and_, _B.and_)
_mask_operator(operator.or_, _B.or_)


@infer_global(operator.neg)
class _NegTyping(AbstractTemplate):
    def generic(self, args, kws):
        return signature(args[0], args[0]) if isinstance(args[0], Vector) else None


@lower_builtin(operator.neg, Vector)
def _neg(context, builder, sig, args):
    return builder.fneg(args[0]) if sig.args[0].is_float else builder.neg(args[0])


# --- arithmetic ---------------------------------------------------------------------------


def call_llvm(builder, name, result, args):
    """Call an LLVM intrinsic by its mangled name: `declare_intrinsic` refuses vector types."""
    fnty = ir.FunctionType(result, [a.type for a in args])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, fnty, name)
    return builder.call(function, args)


def suffix(ty):
    kind = "f" if ty.is_float else "i"
    return f"v{ty.lanes}{kind}{ty.dtype.bitwidth}"


@intrinsic
def lanes(typingctx, x):
    """Elements in a vector of the kind that `x`, a vector or a pointer, names."""
    # Not an inlined overload: the pass that follows inlining drops stores through pointers.
    count = Vector(x.dtype).lanes
    return types.intp(x), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), count)


@intrinsic
def splat(typingctx, value, like):
    """`value` in every lane of a vector of the kind that `like` (a vector or a pointer) names."""
    ty = Vector(like.dtype)

    def lower(context, builder, sig, args):
        return _number_to_vector(context, builder, sig.args[0], ty, args[0])

    return ty(value, like), lower


@intrinsic
def fma(typingctx, x, y, z):
    """``x * y + z``, rounded once."""
    ty = _joint(x, y, z)
    if ty is None:
        return None

    def lower(context, builder, sig, args):
        vectors = _cast_all(context, builder, sig, args, ty)
        return call_llvm(builder, f"llvm.fma.{suffix(ty)}", llvm_type(ty), vectors)

    return ty(x, y, z), lower


@intrinsic
def polynomial(typingctx, x, coefficients):
    """The sum of ``coefficients[k] * x**k`` by Horner's rule, the tuple being constant."""

    def lower(context, builder, sig, args):
        value, *rest = (
            _number_to_vector(context, builder, ty, x, builder.extract_value(args[1], k))
            for k, ty in reversed(list(enumerate(sig.args[1])))
        )
        for coefficient in rest:
            operands = [value, args[0], coefficient]
            value = call_llvm(builder, f"llvm.fma.{suffix(x)}", llvm_type(x), operands)
        return value

    return x(x, coefficients), lower


@intrinsic
def select(typingctx, mask, x, y):
    """Lane by lane `x` where `mask`, else `y`."""
    ty = _joint(x, y)
    if ty is None or not isinstance(mask, Mask):
        return None

    def lower(context, builder, sig, args):
        both = [
            v if t == ty else _number_to_vector(context, builder, t, ty, v)
            for t, v in zip(sig.args[1:], args[1:], strict=True)
        ]
        return builder.select(args[0], *both)

    return ty(mask, x, y), lower


def _unary(name):
    @intrinsic
    def function(typingctx, x):
        if not (isinstance(x, Vector) and x.is_float):
            return None

        def lower(context, builder, sig, args):
            return call_llvm(builder, f"llvm.{name}.{suffix(x)}", llvm_type(x), args)

        return x(x), lower

    return function


sqrt = _unary("sqrt")
absolute = _unary("fabs")


@intrinsic
def copysign(typingctx, x, y):
    """The magnitude of `x` with the sign of `y`."""

    def lower(context, builder, sig, args):
        return call_llvm(builder, f"llvm.copysign.{suffix(x)}", llvm_type(x), args)

    return x(x, x), lower


def _extreme(sign):
    @intrinsic
    def function(typingctx, x, y):
        ty = _joint(x, y)
        if ty is None:
            return None

        def lower(context, builder, sig, args):
            a, b = _cast_all(context, builder, sig, args, ty)
            return builder.select(builder.fcmp_ordered(sign, a, b), a, b)

        return ty(x, y), lower

    return function


maximum = _extreme(">")  # NaN in either gives the second argument
minimum = _extreme("<")


def _reduction(emit):
    @intrinsic
    def function(typingctx, x):
        if not (isinstance(x, Vector) and x.is_float):
            return None

        def lower(context, builder, sig, args):
            value, half = args[0], x.lanes // 2
            undefined = ir.Constant(llvm_type(x), ir.Undefined)
            index = ir.VectorType(ir.IntType(32), x.lanes)
            while half:
                swapped = ir.Constant(index, [i ^ half for i in range(x.lanes)])
                value = emit(builder, value, builder.shuffle_vector(value, undefined, swapped))
                half //= 2
            return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))

        return x.dtype(x), lower

    return function


total = _reduction(_B.fadd)  # the sum of the lanes, as a tree of fixed shape
largest = _reduction(lambda b, x, y: b.select(b.fcmp_ordered(">", x, y), x, y))


def _iota(ty):
    return ir.Constant(ir.VectorType(ir.IntType(64), ty.lanes), list(range(ty.lanes)))


def first_bits(builder, ty, count):
    return builder.icmp_signed("<", _iota(ty), broadcast(builder, count, ty.lanes))


@intrinsic
def first_lanes(typingctx, count, like):
    """Mask of the first `count` lanes of a vector of the kind that `like` names."""
    ty = Vector(like.dtype)

    def lower(context, builder, sig, args):
        return first_bits(builder, ty, args[0])

    return Mask(ty.lanes)(types.intp, like), lower


# --- bits ---------------------------------------------------------------------------------

_TWIN = {
    types.float32: types.int32,
    types.float64: types.int64,
    types.int32: types.float32,
    types.int64: types.float64,
}


def _between_twins(emit, to_float):
    @intrinsic
    def function(typingctx, x):
        if not isinstance(x, Vector) or x.is_float == to_float:
            return None
        ty = Vector(_TWIN[x.dtype])

        def lower(context, builder, sig, args):
            return emit(builder, args[0], llvm_type(ty))

        return ty(x), lower

    return function


as_bits = _between_twins(_B.bitcast, to_float=False)  # the integers with the same bits
from_bits = _between_twins(_B.bitcast, to_float=True)
to_float = _between_twins(_B.sitofp, to_float=True)  # the same values


@intrinsic
def as_integers(typingctx, x, like):
    """The 64 bytes of `x` as integers as wide as the elements that `like` names."""
    ty = Vector(types.Integer.from_bitwidth(like.dtype.bitwidth))

    def lower(context, builder, sig, args):
        return builder.bitcast(args[0], llvm_type(ty))

    return ty(x, like), lower
