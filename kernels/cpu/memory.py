"""Memory as the kernels see it: pointers, and vectors that are loaded and stored through them.

Nothing here checks bounds.
"""

import operator

from llvmlite import ir
from numba import types
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic, lower_builtin

from .simd import VECTOR_BYTES, Pointer, Vector, call_llvm, element, first_bits, llvm_type, suffix


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


@intrinsic
def load_first(typingctx, place, count):
    """The first `count` elements at `place`, zeros in the other lanes; touches no more memory."""
    ty = Vector(place.dtype)

    def lower(context, builder, sig, args):
        mask = first_bits(builder, ty, args[1])
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
        mask = first_bits(builder, ty, args[2])
        where = builder.bitcast(args[0], llvm_type(ty).as_pointer())
        align = ir.Constant(ir.IntType(32), ty.dtype.bitwidth // 8)
        name = f"llvm.masked.store.{suffix(ty)}.p0"
        call_llvm(builder, name, ir.VoidType(), [args[1], where, align, mask])
        return context.get_dummy_value()

    return types.none(place, ty, types.intp), lower
