"""Machine code on disk, a file for each function and signature."""

import contextlib
import hashlib
import os
import pickle

from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.runtime import rtsys
from numba.core.serialize import dumps

from . import partner

_DIGEST_BYTES = hashlib.sha256().digest_size


class Cache(NullCache):
    """What Numba asks for the machine code of `function`, and gives it to; files lie in `folder`.

    Numba's own cache loads all that the compiler knows before it looks for a file (0.3 s, half of
    that for SciPy's BLAS), and believes whatever stands in the file.
    """

    def __init__(self, folder, function):
        self._folder = folder
        self._name = f"{function.__module__.rpartition('.')[2]}.{function.__qualname__}"

    def path(self, signature):
        """Where the machine code for `signature` is or will be."""
        number = hashlib.sha256(str(signature).encode()).hexdigest()[:12]
        return self._folder / f"{self._name}-{number}.nbc"

    def load_overload(self, signature, context):
        """The compiled function, or None where it has to be compiled."""
        path = self.path(signature)
        code = _read(path)
        if code is None and not partner.claim(path.name):
            partner.wait_for(path)
            code = _read(path)
        if code is None:
            return None
        rtsys.initialize(context)  # what the code that takes arguments from Python refers to
        return CompileResult._rebuild(context, *pickle.loads(code))

    def save_overload(self, signature, result):
        """Keep a compiled function; whoever reads meanwhile sees the whole file or none."""
        if result.library.has_dynamic_globals:  # addresses of this process are in the code
            return
        code = dumps(result._reduce())
        path = self.path(signature)
        draft = path.with_suffix(f".{os.urandom(8).hex()}.tmp")
        with contextlib.suppress(OSError):  # such as a full disk: then it will be compiled again
            draft.write_bytes(hashlib.sha256(code).digest() + code)
            draft.replace(path)


def _read(path):
    """The content of a file, or None where there is none, or it was cut short or damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    digest, code = data[:_DIGEST_BYTES], data[_DIGEST_BYTES:]
    return code if hashlib.sha256(code).digest() == digest else None
