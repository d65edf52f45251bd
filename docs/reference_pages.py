"""Writes the pages of the API reference, one for each module that has public names.

Public is what ``fastbatch.__all__`` holds, what the modules in `MODULES` define for users, and the
results in `RESULTS`, which nobody makes by hand.
"""

import inspect
from importlib import import_module
from pathlib import Path

import fastbatch

MODULES = ("callbacks", "data", "learning_curves", "learning_rate", "metrics", "sklearn")
RESULTS = (("fastbatch.posterior", "Predictions"),)

# Pages in this order, all others behind them.
ORDER = (
    "network",
    "layers",
    "trainer",
    "optimizers",
    "schedules",
    "callbacks",
    "data",
    "metrics",
    "sklearn",
)

A_FEW = 5  # members that need no table of contents


def public():
    """Pairs of module and name, the module being the one to import the name from."""
    found = {getattr(fastbatch, name): ("fastbatch", name) for name in fastbatch.__all__}
    found |= {getattr(import_module(module), name): (module, name) for module, name in RESULTS}
    for module in MODULES:
        path = f"fastbatch.{module}"
        for name, thing in inspect.getmembers(import_module(path), is_documented):
            if not name.startswith("_") and thing.__module__.startswith(path):
                found.setdefault(thing, (path, name))
    return sorted(found.values())


def is_documented(thing):
    """Whether it can be a part of the reference."""
    return inspect.isclass(thing) or inspect.isfunction(thing)


def pages():
    """The names by page: exceptions stand together, all else by the module that defines it."""
    found = {}
    for module, name in public():
        thing = getattr(import_module(module), name)
        is_error = inspect.isclass(thing) and issubclass(thing, Exception)
        page = "errors" if is_error else thing.__module__.split(".")[1]
        found.setdefault(page, []).append((module, name))
    rank = {page: place for place, page in enumerate(ORDER)}
    return dict(sorted(found.items(), key=lambda item: (rank.get(item[0], len(rank)), item[0])))


def members(thing):
    """Names of what a class of fastbatch offers, parts of other libraries left out."""
    for name, member in inspect.getmembers(thing):
        function = getattr(member, "fget", None) or getattr(member, "func", None) or member
        ours = str(getattr(function, "__module__", "")).startswith("fastbatch")
        if ours and not name.startswith("_") and not inspect.isclass(member):
            yield name


def page(key, names):
    """The text of a page: a table of what there is, then the docstrings."""
    title = key.replace("_", " ").capitalize()
    lines = [title, "=" * len(title), ""]
    if key in MODULES:
        lines += [f".. automodule:: fastbatch.{key}", "", ".. currentmodule:: None", ""]
    lines += [".. autosummary::", "   :nosignatures:", ""]
    lines += [f"   {module}.{name}" for module, name in names]
    for module, name in names:
        thing = getattr(import_module(module), name)
        lines += ["", f".. currentmodule:: {module}", ""]
        if not inspect.isclass(thing):
            lines += [f".. autofunction:: {name}"]
            continue
        lines += [name, "-" * len(name), ""]
        own = list(members(thing))
        if len(own) > A_FEW:
            lines += [".. autosummary::", "   :nosignatures:", ""]
            lines += [*(f"   {name}.{member}" for member in own), ""]
        lines += [f".. autoclass:: {name}"]
        if own:
            lines += [f"   :members: {', '.join(own)}"]
    return "\n".join(lines) + "\n"


def write(app):
    """Write what has changed, and remove what is no page any more."""
    folder = Path(app.srcdir, "reference")
    folder.mkdir(exist_ok=True)
    texts = {f"{key}.rst": page(key, names) for key, names in pages().items()}
    toctree = "\n   ".join(name.removesuffix(".rst") for name in texts)
    texts["index.rst"] = (
        f"API reference\n=============\n\n.. toctree::\n   :maxdepth: 2\n\n   {toctree}\n"
    )
    for path in folder.iterdir():
        if path.name not in texts:
            path.unlink()
    for name, text in texts.items():
        path = folder / name
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def link(app, env, node, text):
    """Where the docstring of a submodule says `Trainer`, it means fastbatch.Trainer."""
    if node.get("refdomain") == "py":
        target = f"fastbatch.{node['reftarget']}"
        page, python = node["refdoc"], env.get_domain("py")
        return python.resolve_xref(env, page, app.builder, "obj", target, node, text)
    return None


def setup(app):
    """Called by Sphinx."""
    app.connect("builder-inited", write)
    app.connect("missing-reference", link)
    return {"parallel_read_safe": True}
