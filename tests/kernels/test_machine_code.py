"""What the compiler makes of the innermost loop of all products."""

import re

import numpy as np
import pytest
from processes import output_of

from fastbatch.kernels.cpu.jit import tile_shape

CALL = "import test_machine_code as tests; tests."


def print_assembly():
    """In a process of its own, since only code that was just compiled can be read."""
    from fastbatch.kernels.cpu.product import product

    product.address(np.dtype("float32"))
    print(product._compiled[np.dtype("float32")]._library.get_asm_str())


def loops(assembly):
    """Blocks of instructions that end with a jump to their own beginning."""
    for block in re.split(r"\n(?=\.L)", assembly):
        label = block.partition(":")[0]
        if re.search(rf"\sj\w+\s+{re.escape(label)}\b", block):
            end = re.search(rf"\sj\w+\s+{re.escape(label)}\b", block).end()
            yield block[:end]


@pytest.mark.slow
@pytest.mark.skipif(tile_shape() != "wide", reason="the other tile has 12 sums of half vectors")
def test_the_main_loop_multiplies_and_does_hardly_anything_else(tmp_path):
    assembly = output_of("-c", CALL + "print_assembly()", FASTBATCH_CACHE_DIR=str(tmp_path))
    main = [loop for loop in loops(assembly) if len(re.findall(r"\bvfmadd", loop)) == 24]
    assert len(main) >= 3  # tiles of 6 x 4, 8 x 3 and 12 x 2 vectors
    for loop in main:
        assert not re.search(r"%[re]?sp\b|%rbp\)", loop), "a sum was spilled to the stack"
        assert "call" not in loop
        instructions = [line for line in loop.splitlines() if re.match(r"\s+[a-z]", line)]
        assert len(instructions) <= 60
