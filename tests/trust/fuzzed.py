"""A good checkpoint with everything in it, and files that differ from it in what they should not.

python fuzzed.py FOLDER   loads all hostile files with little memory; prints the seconds it took
"""

import copy
import json
import pickle
import struct
import sys
import time
from pathlib import Path

import numpy as np
from safetensors.numpy import save

import fastbatch as fb
from fastbatch import checkpoint

RNG = np.random.default_rng(1)
Y = np.arange(30) % 3
X = RNG.normal(size=(30, 4)).astype(np.float32)


def trainer():
    """Stopped amid an epoch, with all options that a checkpoint can hold."""
    net = fb.Network(
        [fb.Dense(5, "gelu"), fb.Dense(3)], 4, "cross_entropy", backend="reference", draw=7
    )
    trainer = fb.Trainer(
        net,
        fb.SGD(fb.LinearWarmup(3, fb.StepDecay(0.1, every=4)), momentum=0.9),
        batch_size=7,
        seed=3,
        sampler="poisson",
        clip=fb.PerExampleClip([1.0, 0.5], per_layer=True),
        noise=fb.GaussianNoise(0.1, seed=5),
        monitor=["losses", "gradient_norms", "noise_scale"],
    )
    trainer.fit(X, Y, epochs=2, validation=(X, Y))
    trainer.sample(X, Y, 2)
    trainer.extra = {"classes": ["a", "b", "c"], "scale": [0.5, None]}
    return trainer


def parts(path):
    """The tensors and the description of a file."""
    tensors, _ = checkpoint.read(path)
    with checkpoint.safe_open(path, framework="numpy") as file:
        return tensors, json.loads(file.metadata()["fastbatch"])


def signed(tensors, text):
    """A file whose checksum is right, whatever is in it."""
    crc32 = str(checkpoint._checksum(text, tensors))
    return save(tensors, {"fastbatch": text, "crc32": crc32})


def with_header(header, data=b""):
    """A file with a header of one's own."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def same(one, other):
    """Whether two trainers are in the same state, to the bit."""
    return everything(one) == everything(other)


def everything(trainer):
    saved = vars(trainer).keys() - {"samples"}
    options = {name: vars(trainer)[name] for name in sorted(saved) if name[0] != "_"}
    state = {
        name: (value.dtype, value.tobytes()) if isinstance(value, np.ndarray) else repr(value)
        for name, value in vars(trainer._state).items()
    }
    return repr(options), state, repr(trainer._ledger), trainer._examples


# Places in a description, and what stands there


def places(tree, way=()):
    """Ways to every value in a tree of JSON."""
    if isinstance(tree, dict | list):
        for key in tree if isinstance(tree, dict) else range(len(tree)):
            yield (*way, key)
            yield from places(tree[key], (*way, key))


def at(tree, way):
    """The value at the end of a way."""
    for key in way:
        tree = tree[key]
    return tree


def changed(tree, way, *value):
    """A copy of the tree with another value there, or with none."""
    tree = copy.deepcopy(tree)
    inner, key = at(tree, way[:-1]), way[-1]
    if value:
        (inner[key],) = value
    else:
        del inner[key]
    return tree


# Files that somebody made on purpose


class Bomb:
    """What a pickle would run."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def hostile(good, folder):
    """Names and contents of files that no reader may choke on."""
    tensors, description = parts(good)
    text = json.dumps(description)
    deep = "[" * 50_000 + "]" * 50_000
    for name, damaged in {
        "deep": text.replace('"examples"', f'"deep": {deep}, "examples"'),
        "deep schedule": text.replace(
            '"sampler"', '"x": ' + '{"type": "LinearWarmup", "lr": ' * 400 + "1" + "}" * 401, 1
        ),
        "deep extra": json.dumps({**description, "extra": deep}),
        "twice": text.replace('"seed": 3', '"seed": 3, "seed": 4'),
        "huge number": text.replace('"seed": 3', '"seed": ' + "9" * 100_000),
        "huge width": text.replace('"units": 5', '"units": 1' + "0" * 30),
        "large width": text.replace('"units": 5', '"units": 4000000000'),
        "no object": "[1, 2]",
        "no entries": "{}",
        "null": "null",
        "no JSON": "fastbatch",
        "empty": "",
        "code": text.replace('"Network"', '"os.system"'),
        "a class of ours": text.replace('"Network"', '"Trainer"'),
        "a method": text.replace('"Network"', '"Network.init"'),
    }.items():
        assert damaged != text, name
        yield name, signed(tensors, damaged)

    data = b"".join(tensors[name].tobytes() for name in sorted(tensors))
    metadata = {"fastbatch": text, "crc32": str(checkpoint._checksum(text, tensors))}
    entry = {"dtype": "F32", "shape": [len(data) // 4], "data_offsets": [0, len(data)]}

    def headed(header, data=data):
        return with_header({"__metadata__": metadata, **header}, data)

    yield "one tensor", headed({"theta": entry})
    for dtype in "BF16", "F8_E5M2", "F8_E4M3", "F4", "C64", "U64", "BOOL", "I8", "float32", "O":
        for shape in [len(data)], [len(data) // 2], [len(data) // 4], [len(data) // 8], []:
            yield f"{dtype} {shape}", headed({"theta": {**entry, "dtype": dtype, "shape": shape}})
    for shape in (
        [2**32, 2**32, 2**32], [2**63, 2], [0, 2**63], [2**63, 0], [0, 2**62, 2**62], [-1], [0.5],
        [1] * 1000, [1] * 65 + [0], "x", None,
    ):  # fmt: skip
        yield f"shape {str(shape)[:30]}", headed({"theta": {**entry, "shape": shape}})
        nothing = {"dtype": "F32", "shape": shape, "data_offsets": [0, 0]}
        yield f"empty shape {str(shape)[:30]}", headed({"theta": nothing}, b"")
    for offsets in [0, 2**64 - 1], [2**64 - 4, 4], [8, 4], [4, len(data)], [-4, 0], [0], "x":
        yield f"offsets {offsets}", headed({"theta": {**entry, "data_offsets": offsets}})
    yield "overlapping", headed({"slots": entry, "theta": entry})
    yield "many", headed({f"{n}": {**entry, "data_offsets": [0, 0]} for n in range(20_000)})
    yield "metadata of numbers", with_header({"__metadata__": {"fastbatch": 1}, "theta": entry})
    yield "deep header", with_header(f'{{"theta": {deep}}}'.encode())
    twice = f'{{"theta": {json.dumps(entry)}, "theta": {json.dumps(entry)}}}'
    yield "header twice", with_header(twice.encode(), data)
    yield "no header", with_header(b"")
    yield "header of no object", with_header(b"[]")
    yield "header of no text", with_header(b"\xff" * 100)
    for length in 0, 7, 10**8, 10**8 + 1, 2**31, 2**32, 2**63, 2**64 - 8, 2**64 - 1:
        yield f"length {length}", struct.pack("<Q", length) + text.encode()
    yield "pickle", pickle.dumps(Bomb(folder / "ran"))
    yield "zip", b"PK\x03\x04" + bytes(1000)


def huge(path, good):
    """Files of 64 GB, of which the disk has some bytes: more than anybody may read."""
    size = 64 << 30
    entry = {"dtype": "F32", "shape": [size >> 2], "data_offsets": [0, size]}
    for name, start in {
        "zeros": b"",
        "another's": with_header({"theta": entry}),
        "good and zeros": good.read_bytes(),
    }.items():
        with path.open("wb") as file:
            file.write(start)
            file.truncate(len(start) + size)
        yield name


if __name__ == "__main__":
    import resource

    folder = Path(sys.argv[1])
    good, path = folder / "good", folder / "hostile"
    trainer().save(good)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    virtual = pages * resource.getpagesize()

    def refused(name, more):
        # Of address space: what is mapped counts, too.
        resource.setrlimit(resource.RLIMIT_AS, (virtual + more, -1))
        start = time.perf_counter()
        try:
            fb.Trainer.load(path)
        except fb.CheckpointError:
            print(name, time.perf_counter() - start)
            return
        raise SystemExit(f"{name} was loaded")

    for name, content in hostile(good, folder):
        path.write_bytes(content)
        refused(name, 64 << 20)
    for name in huge(path, good):
        refused(name, (64 << 30) + (64 << 20))
    assert not (folder / "ran").exists()
