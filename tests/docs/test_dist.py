"""What make dist makes: a wheel that an empty environment can install and run, outside of the checkout."""

import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from tests.support.uncounted import uncounted
from tests.support.waiting import PATIENCE

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


def run(*command: str | Path, cwd: Path) -> str:
    environment = {name: value for name, value in uncounted().items() if name != "PYTHONPATH"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source archive and wheel; the wheel is built from the archive."""
    directory = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--outdir", directory, ROOT, cwd=directory)
    return directory


def test_the_wheel_runs_in_an_empty_environment(dist: Path, tmp_path: Path):
    (wheel,) = dist.glob("*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    binaries = tmp_path / "empty" / "bin"
    run(binaries / "python", "-m", "pip", "install", "--quiet", wheel, cwd=tmp_path)
    assert "destroy" in run(binaries / "penglai", "test-stop", "loop", "--seconds", "0.5", cwd=tmp_path)


def test_the_wheel_has_every_file_of_the_package_and_no_other(dist: Path):
    (wheel,) = dist.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("penglai/")}
    sources = [path for path in (ROOT / "src/penglai").rglob("*") if path.is_file()]
    ours = {
        str(path.relative_to(ROOT / "src"))
        for path in sources
        if "__pycache__" not in path.parts and path.suffix != ".pyc"
    }
    assert packed == ours


def test_the_source_archive_has_what_its_makefile_needs(dist: Path):
    (archive,) = dist.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        names = {name.partition("/")[2] for name in tar.getnames()}
    assert {"Makefile", "pyproject.toml", "SECURITY.md", "tests/conftest.py", "docs/abi.md"} <= names
