"""The wheel as a user gets it: one package, installed where no checkout is, in a folder full of lookalikes."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def run(*command: object, cwd: Path, **environment: str) -> str:
    """Standard output of a program that knows nothing of the checkout; a failure shows what it wrote."""
    outside = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "RECAE_", "COV"))
    }
    line = [str(part) for part in command]
    done = subprocess.run(
        line, cwd=cwd, env=outside | environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built from a copy, so that nothing is written into the checkout and no build of yesterday is found.

    The copy's protocol for the demo loses its search and most epochs: this is about the way, not about the numbers.
    """
    checkout = tmp_path_factory.mktemp("checkout")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, checkout)
    for name in ("recae", "api", "data", "evaluation", "tests"):
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    protocol = checkout / "evaluation" / "movielens-small.toml"
    quick = re.sub(r"^search = .*\n", "", protocol.read_text(), flags=re.MULTILINE)
    protocol.write_text(re.sub(r"epochs = \d+", "epochs = 2", quick))
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=checkout)
    (built,) = (checkout / "dist").glob("*.whl")
    return built


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment that holds this wheel, and sees recae's dependencies without installing them again.

    A folder named in a .pth file joins the path, but .pth files inside it are not read: the editable install of the
    checkout, which is such a file, stays invisible.
    """
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder, cwd=folder)
    python = folder / "bin" / "python"
    pip = (sys.executable, "-m", "pip", "--python", python, "--disable-pip-version-check")
    run(*pip, "install", "--quiet", "--no-deps", "--no-index", wheel, cwd=folder)
    purelib = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=folder).strip()
    (Path(purelib) / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder


@pytest.fixture
def crowded_folder(tmp_path: Path) -> Path:
    """A user's own folder whose names are those of recae's checkout."""
    for name in ("api", "config", "evaluation", "threads"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user\\'s own module was imported')\n")
    (tmp_path / "data" / "movielens-small").mkdir(parents=True)
    (tmp_path / "data" / "__init__.py").write_text("raise SystemExit('the user\\'s own data was imported')\n")
    (tmp_path / "data" / "movielens-small" / "ratings.parquet").write_text("this is no Parquet file")
    return tmp_path


def test_the_wheel_holds_one_package_and_all_that_belongs_to_it(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "recae").rglob("*.py")}
    protocols = {f"recae/evaluation/protocols/{path.name}" for path in (ROOT / "evaluation").glob("*.toml")}
    sample = {
        f"recae/data/movielens-small/{name}" for name in ("ratings.parquet", "movies.parquet", "README.md")
    }

    assert {name.split("/")[0] for name in names} == {"recae", "recae-0.1.0.dist-info"}
    assert names >= code | protocols | sample | {"recae/py.typed", "recae-0.1.0.dist-info/licenses/LICENSE"}


def test_the_installed_package_is_the_wheels_and_the_checkouts_folders_are_not_importable(
    environment, tmp_path
):
    program = (
        "import recae; from importlib.util import find_spec\n"
        "print(recae.__file__, *[name for name in ('api', 'data', 'evaluation', 'tests') if find_spec(name)])"
    )

    printed = run(environment / "bin" / "python", "-c", program, cwd=tmp_path).split()

    assert len(printed) == 1, f"importable beside recae: {printed[1:]}"
    assert Path(printed[0]).is_relative_to(environment)


def test_the_editable_install_exposes_recae_alone(tmp_path):
    program = (
        "import sys; from importlib.util import find_spec; print(*[n for n in sys.argv[1:] if find_spec(n)])"
    )

    printed = run(sys.executable, "-c", program, "recae", "api", "data", "evaluation", "tests", cwd=tmp_path)

    assert printed.split() == ["recae"]


def test_python_m_recae_is_not_confused_by_a_folder_of_lookalikes(environment, crowded_folder):
    printed = run(environment / "bin" / "python", "-m", "recae", "--version", cwd=crowded_folder)

    assert "0.1.0" in printed


def test_the_demo_runs_from_the_wheel_in_a_folder_of_lookalikes(environment, crowded_folder):
    state = crowded_folder / "state"

    printed = run(
        environment / "bin" / "recae",
        "demo",
        "--no-serve",
        cwd=crowded_folder,
        RECAE_HOME=str(state),
        COLUMNS="200",
    )

    for model in ("popularity", "item_knn", "als", "ease", "mult_vae"):
        assert model in printed
    assert state.is_dir()
