"""What a user installs: a wheel that holds everything, and trains."""

import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    """Run a command, and show what it said if it fails."""
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, **options
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    for name in ("fastbatch", "kernels"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    build = "-m pip wheel --quiet --no-deps --no-build-isolation --no-index --wheel-dir"
    run(sys.executable, *build.split(), folder, source)
    (path,) = folder.glob("*.whl")
    return path


def test_a_wheel_holds_every_module_and_nothing_at_the_top_but_fastbatch(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    modules = {name for name in names if name.endswith(".py")}
    expected = {
        f"{place}/{path.relative_to(ROOT / folder).as_posix()}"
        for folder, place in (("fastbatch", "fastbatch"), ("kernels", "fastbatch/kernels"))
        for path in (ROOT / folder).rglob("*.py")
    }
    assert modules == expected
    assert "fastbatch/py.typed" in names
    assert {name.partition("/")[0].partition("-")[0] for name in names} == {"fastbatch"}


@pytest.mark.slow
def test_an_installed_wheel_trains(wheel, tmp_path):
    environment = tmp_path / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", environment)
    scripts = environment / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    run(
        sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel
    )
    # The dependencies are those of the environment that runs the tests; the package itself,
    # installed there by a hook that a path file does not carry over, is not.
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    Path(site, "dependencies.pth").write_text("\n".join(sorted(paths)))

    where = run(
        python, "-c", "import fastbatch.kernels.cpu as cpu; print(cpu.__file__)", cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(environment)
    report = run(
        scripts / "fastbatch", "train", "iris", "--epochs", "20", "--lr", "0.01", cwd=tmp_path
    )
    accuracy = float(report.partition("held-out accuracy ")[2].partition(",")[0])
    assert accuracy > 0.8
