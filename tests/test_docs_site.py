"""The site of the documentation builds without a warning, and its reference is complete."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import fastbatch as fb

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site, made of a copy: the pages of the reference are written beside the guides."""
    folder = tmp_path_factory.mktemp("site")
    generated = shutil.ignore_patterns("_build", "reference")
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=generated)
    for path in ROOT.iterdir():  # what guides link to
        if path.name != "docs" and not path.name.startswith("."):
            (folder / path.name).symlink_to(path)
    build = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-n", "-q"]
    result = subprocess.run(
        [*build, folder / "docs", folder / "site"], capture_output=True, text=True
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return folder / "site"


@pytest.mark.slow
def test_every_public_name_is_in_the_reference(site):
    documented = set()
    for page in (site / "reference").glob("*.html"):
        documented.update(re.findall(r'<dt class="sig[^>]* id="([\w.]+)"', page.read_text()))
    assert {f"fastbatch.{name}" for name in fb.__all__} <= documented
    methods = {"Network.gradient_norms", "Trainer.fit", "PosteriorSamples.predict"}
    assert {f"fastbatch.{name}" for name in methods} <= documented


@pytest.mark.slow
def test_every_guide_can_be_reached_from_the_first_page(site):
    guides = [path.relative_to(ROOT / "docs") for path in (ROOT / "docs").rglob("*.md")]
    guides = [path for path in guides if path.parts[0] not in ("_build", "reference")]
    linked = set()
    for page in ("index.html", "gallery/index.html"):
        folder = Path(page).parent
        targets = re.findall(r'href="([^"#:]+\.html)', (site / page).read_text())
        linked.update(os.path.normpath(folder / target) for target in targets)
    assert {str(path.with_suffix(".html")) for path in guides} <= linked | {"index.html"}
