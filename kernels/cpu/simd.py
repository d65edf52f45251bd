"""The vector type of the CPU kernels: 64 bytes wide on every machine, used like a number.

A `Vector` holds ``lanes(x)`` elements (16 float32 or int32, 8 float64 or int64), a `Mask` one
truth value for each of them, a `Pointer` is an address that knows its element type.  In
jitted code they take the operators a reader expects (``x * y + 1.0``, ``x < 0.0``, ``p + 16``);
the functions below do the rest.  LLVM splits a vector where the hardware is narrower, so the
rounding of every operation, and with it every bit of a result, is the same on all processors.

Nothing here checks bounds.
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


@infer_global(operator.iadd)
@infer_global(operator.add)
class _StepTyping(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer) and isinstance(args[1], types.Integer):
            return signature(args[0], args[0], types.intp)
        return None


@lower_builtin(operator.iadd, Pointer, types.intp)
@lower_builtin(operator.add, Pointer, types.intp)
def _step(context, builder, sig, args):
    return builder.gep(args[0], [args[1]], source_etype=element(sig.args[0].dtype))


@infer_global(operator.getitem)
class _GetTyping(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer):
            return signature(args[0].dtype, args[0], types.intp)
        return None


@lower_builtin(operator.getitem, Pointer, types.intp)
def _get(context, builder, sig, args):
    dtype = element(sig.args[0].dtype)
    place = builder.gep(args[0], [args[1]], source_etype=dtype)
    return builder.load(place, typ=dtype)


@infer_global(operator.setitem)
class _SetTyping(AbstractTemplate):
    def generic(self, args, kws):
        if isinstance(args[0], Pointer):
            return signature(types.none, args[0], types.intp, args[0].dtype)
        return None


@lower_builtin(operator.setitem, Pointer, types.intp, types.Any)
def _set(context, builder, sig, args):
    place = builder.gep(args[0], [args[1]], source_etype=element(sig.args[0].dtype))
    builder.store(args[2], place)
    return context.get_dummy_value()


# --- addresses ----------------------------------------------------------------------------


@intrinsic
def pointer(typingctx, address, like):
    """The integer `address` as a pointer to what `like` (a NumPy type or a pointer) names."""
    if not isinstance(address, types.Integer):
        return None
    ty = like if isinstance(like, Pointer) else Pointer(like.dtype)

    def lower(context, builder, sig, args):
        return builder.inttoptr(args[0], llvm_type(ty))

    return ty(types.intp, like), lower


@intrinsic
def pointer_to(typingctx, array):
    """The first element of a contiguous `array`."""
    if not isinstance(array, types.Array):
        return None

    def lower(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.bitcast(data, llvm_type(sig.return_type))

    return Pointer(array.dtype)(array), lower


@intrinsic
def lanes(typingctx, x):
    """Elements in a vector of the kind that `x`, a vector or a pointer, names."""
    # Not an inlined overload: the pass that follows inlining drops stores through pointers.
    count = Vector(x.dtype).lanes
    return types.intp(x), lambda context, builder, sig, args: ir.Constant(ir.IntType(64), count)


# --- memory -------------------------------------------------------------------------------


def _loader(aligned):
    @intrinsic
    def load(typingctx, place):
        if not isinstance(place, Pointer):
            return None
        ty = Vector(place.dtype)
        align = VECTOR_BYTES if aligned else place.dtype.bitwidth // 8

        def lower(context, builder, sig, args):
            where = builder.bitcast(args[0], llvm_type(ty).as_pointer())
            return builder.load(where, align=align, typ=llvm_type(ty))

        return ty(place), lower

    return load


def _storer(aligned):
    @intrinsic
    def store(typingctx, place, value):
        if not isinstance(place, Pointer):
            return None
        ty = Vector(place.dtype)
        align = VECTOR_BYTES if aligned else place.dtype.bitwidth // 8

        def lower(context, builder, sig, args):
            if sig.args[1] != ty:
                raise TypeError(f"store of {sig.args[1]} through {place}")
            where = builder.bitcast(args[0], llvm_type(ty).as_pointer())
            builder.store(args[1], where, align=align)
            return context.get_dummy_value()

        return types.none(place, value), lower

    return store


load = _loader(aligned=True)
store = _storer(aligned=True)
load_unaligned = _loader(aligned=False)
store_unaligned = _storer(aligned=False)


def call_llvm(builder, name, result, args):
    """Call an LLVM intrinsic by its mangled name: `declare_intrinsic` refuses vector types."""
    fnty = ir.FunctionType(result, [a.type for a in args])
    module = builder.module
    function = module.globals.get(name) or ir.Function(module, fnty, name)
    return builder.call(function, args)


def suffix(ty):
    kind = "f" if ty.is_float else "i"
    return f"v{ty.lanes}{kind}{ty.dtype.bitwidth}"


def _iota(ty):
    return ir.Constant(ir.VectorType(ir.IntType(64), ty.lanes), list(range(ty.lanes)))


def _first(builder, ty, count):
    return builder.icmp_signed("<", _iota(ty), broadcast(builder, count, ty.lanes))


@intrinsic
def load_first(typingctx, place, count):
    """The first `count` elements at `place`, zeros in the other lanes; touches no more memory."""
    ty = Vector(place.dtype)

    def lower(context, builder, sig, args):
        mask = _first(builder, ty, args[1])
        zeros = ir.Constant(llvm_type(ty), None)
        where = builder.bitcast(args[0], llvm_type(ty).as_pointer())
        align = ir.Constant(ir.IntType(32), ty.dtype.bitwidth // 8)
        name = f"llvm.masked.load.{suffix(ty)}.p0"
        return call_llvm(builder, name, llvm_type(ty), [where, align, mask, zeros])

    return ty(place, types.intp), lower


@intrinsic
def store_first(typingctx, place, value, count):
    """Store the first `count` lanes of `value` at `place`; touches no more memory."""
    ty = Vector(place.dtype)

    def lower(context, builder, sig, args):
        mask = _first(builder, ty, args[2])
        where = builder.bitcast(args[0], llvm_type(ty).as_pointer())
        align = ir.Constant(ir.IntType(32), ty.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{suffix(ty)}.p0"
        call_llvm(builder, name, ir.VoidType(), [args[1], where, align, mask])
        return context.get_dummy_value()

    return types.none(place, ty, types.intp), lower


# --- arithmetic ---------------------------------------------------------------------------


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


@intrinsic
def first_lanes(typingctx, count, like):
    """Mask of the first `count` lanes of a vector of the kind that `like` names."""
    ty = Vector(like.dtype)

    def lower(context, builder, sig, args):
        return _first(builder, ty, args[0])

    return Mask(ty.lanes)(types.intp, like), lower


@intrinsic
def any_lane(typingctx, mask):
    """Whether any lane of `mask` is true."""

    def lower(context, builder, sig, args):
        packed = builder.bitcast(args[0], ir.IntType(mask.lanes))
        return builder.icmp_unsigned("!=", packed, ir.Constant(packed.type, 0))

    return types.boolean(mask), lower


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
to_integer = _between_twins(_B.fptosi, to_float=False)  # values, rounded towards zero
to_float = _between_twins(_B.sitofp, to_float=True)
