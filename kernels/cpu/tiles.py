"""What happens in registers: tiles of a product, and squares that are transposed."""

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from .simd import VECTOR_BYTES, Vector, broadcast, call_llvm, element, llvm_type, suffix

_ONE = ir.Constant(ir.IntType(32), 1)


def _transposer(past_caches):
    @intrinsic
    def transpose(typingctx, out, out_stride, source, source_stride):
        """Transpose a square of lanes x lanes elements between two places with the given strides.

        Each of log2(lanes) rounds exchanges, between rows at distance d, the columns at distance d.
        """
        ty = Vector(source.dtype)

        def lower(context, builder, sig, args):
            target, target_stride, origin, origin_stride = args
            scalar, vector = element(ty.dtype), llvm_type(ty)
            index = ir.VectorType(ir.IntType(32), ty.lanes)

            def row(base, stride, r):
                place = builder.gep(
                    base, [builder.mul(stride, ir.Constant(stride.type, r))], source_etype=scalar
                )
                return builder.bitcast(place, vector.as_pointer())

            rows = [
                builder.load(row(origin, origin_stride, r), align=VECTOR_BYTES, typ=vector)
                for r in range(ty.lanes)
            ]
            distance = ty.lanes // 2
            while distance:
                low = [i if not i & distance else i - distance + ty.lanes for i in range(ty.lanes)]
                high = [i + distance if not i & distance else i + ty.lanes for i in range(ty.lanes)]
                for r in range(ty.lanes):
                    if not r & distance:
                        a, b = rows[r], rows[r + distance]
                        rows[r] = builder.shuffle_vector(a, b, ir.Constant(index, low))
                        rows[r + distance] = builder.shuffle_vector(a, b, ir.Constant(index, high))
                distance //= 2
            for r in range(ty.lanes):
                place = row(target, target_stride, r)
                stored = builder.store(rows[r], place, align=VECTOR_BYTES)
                if past_caches:
                    stored.set_metadata("nontemporal", builder.module.add_metadata([_ONE]))
            return context.get_dummy_value()

        return types.none(out, types.intp, source, types.intp), lower

    return transpose


transpose = _transposer(past_caches=False)
# Straight to memory, of which no line is read before; `atomics.fence` must follow.
transpose_past_caches = _transposer(past_caches=True)


@intrinsic(prefer_literal=True)
def tile(
    typingctx,
    height,
    width,
    out,
    out_stride,
    start,
    start_stride,
    a,
    a_row,
    a_step,
    a_jump,
    b,
    b_stride,
    count,
    run,
):
    """``out = start + A @ B`` for one register tile of `height` rows and `width` vectors.

    `height` and `width` are literals: all ``height * width`` sums stay in registers while the loop
    walks over `count` terms, each ``fma(A[r, k], B[k], sum[r])`` in the order of k.  A is read one
    element at a time, `a_row` elements from row to row and `a_step` from term to term, with
    `a_jump` more after each `run` terms (where A lies in panels); B, `start` and `out` are read
    and written by the vector.  A `start_stride` of 0 starts every row from the same values.
    """
    ty = Vector(out.dtype)
    rows, columns = height.literal_value, width.literal_value

    def lower(context, builder, sig, args):
        (_, _, out, out_stride, start, start_stride, a, a_row, a_step, a_jump, b, b_stride) = args[
            :12
        ]
        count, run = args[12:]
        scalar, vector, intp = element(ty.dtype), llvm_type(ty), out_stride.type

        def constant(value):
            return ir.Constant(intp, value)

        def step(place, *by):
            for n in by:
                place = builder.gep(place, [n], source_etype=scalar)
            return place

        def vector_at(place, column):
            place = step(place, constant(column * ty.lanes))
            return builder.bitcast(place, vector.as_pointer())

        def row_of(base, stride, r):
            return step(base, builder.mul(stride, constant(r)))

        initial = [
            builder.load(
                vector_at(row_of(start, start_stride, r), c), align=VECTOR_BYTES, typ=vector
            )
            for r in range(rows)
            for c in range(columns)
        ]
        before = builder.block
        outer = builder.append_basic_block("tile.run")
        inner = builder.append_basic_block("tile.term")
        latch = builder.append_basic_block("tile.jump")
        after = builder.append_basic_block("tile.end")
        builder.cbranch(builder.icmp_signed(">", count, constant(0)), outer, after)

        def phis(pairs, block):
            made = []
            for value, source in pairs:
                phi = builder.phi(value.type)
                phi.add_incoming(value, source)
                made.append(phi)
            return made

        builder.position_at_end(outer)
        o_left, o_a, o_b, *o_sums = phis([(v, before) for v in (count, a, b, *initial)], outer)
        short = builder.icmp_signed("<", o_left, run)
        terms = builder.select(short, o_left, run)
        builder.branch(inner)

        builder.position_at_end(inner)
        i_left, i_a, i_b, *sums = phis([(v, outer) for v in (terms, o_a, o_b, *o_sums)], inner)
        b_row = [
            builder.load(vector_at(i_b, c), align=VECTOR_BYTES, typ=vector) for c in range(columns)
        ]
        new = []
        for r in range(rows):
            value = builder.load(row_of(i_a, a_row, r), typ=scalar)
            spread = broadcast(builder, value, ty.lanes)
            for c in range(columns):
                term = [spread, b_row[c], sums[r * columns + c]]
                new.append(call_llvm(builder, f"llvm.fma.{suffix(ty)}", vector, term))
        next_left = builder.sub(i_left, constant(1))
        next_a, next_b = step(i_a, a_step), step(i_b, b_stride)
        for phi, value in zip(
            (i_left, i_a, i_b, *sums), (next_left, next_a, next_b, *new), strict=True
        ):
            phi.add_incoming(value, inner)
        builder.cbranch(builder.icmp_signed(">", next_left, constant(0)), inner, latch)

        builder.position_at_end(latch)
        left = builder.sub(o_left, terms)
        for phi, value in zip(
            (o_left, o_a, o_b, *o_sums), (left, step(next_a, a_jump), next_b, *new), strict=True
        ):
            phi.add_incoming(value, latch)
        builder.cbranch(builder.icmp_signed(">", left, constant(0)), outer, after)

        builder.position_at_end(after)
        for r in range(rows):
            for c in range(columns):
                phi = builder.phi(vector)
                phi.add_incoming(initial[r * columns + c], before)
                phi.add_incoming(new[r * columns + c], latch)
                new[r * columns + c] = phi
        for r in range(rows):
            for c in range(columns):
                builder.store(
                    new[r * columns + c],
                    vector_at(row_of(out, out_stride, r), c),
                    align=VECTOR_BYTES,
                )
        return context.get_dummy_value()

    i = types.intp
    return types.none(height, width, out, i, start, i, a, i, i, i, b, i, i, i), lower
