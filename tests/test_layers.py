"""Imports go downwards, and the command line stays light. The layers stand in pyproject.toml, tool.importlinter."""

import ast
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    """Judge the package `recae` in ``checkout`` by the contract in its pyproject.toml."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()"]
    command += ["--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(checkout)}
    return subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def copy_of_checkout(tmp_path: Path) -> Path:
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "recae", tmp_path / "recae", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_imports_go_downwards_only():
    judged = lint_imports(ROOT)

    assert judged.returncode == 0, judged.stdout + judged.stderr


def test_an_import_upwards_breaks_the_contract(copy_of_checkout):
    with (copy_of_checkout / "recae/data/idmap.py").open("a") as file:
        file.write("\nimport recae.recommender\n")

    judged = lint_imports(copy_of_checkout)

    assert judged.returncode == 1
    assert "recae.data.idmap -> recae.recommender" in judged.stdout


def test_a_module_without_a_layer_breaks_the_contract(copy_of_checkout):
    (copy_of_checkout / "recae/helpers.py").touch()

    judged = lint_imports(copy_of_checkout)

    assert judged.returncode == 1
    assert "helpers" in judged.stdout


HEAVY = {"flask", "implicit", "pandas", "scipy", "torch"}
ARRAYS = {"numpy", "pyarrow"}


@pytest.mark.parametrize(
    ("command", "unwanted"),
    [
        ("--help", HEAVY | ARRAYS),
        ("--version", HEAVY | ARRAYS),
        ("train --help", HEAVY | ARRAYS),
        ("runs list", HEAVY | ARRAYS),
        ("schedule --at 03:00 --dry-run", HEAVY | ARRAYS),
        ("models list", HEAVY),
        ("models history", HEAVY),
        ("models prune", HEAVY),
        ("keys list", HEAVY | ARRAYS),
        ("compare evaluation/results/ml-1m-ncf", {"flask", "implicit", "sqlalchemy", "torch"}),
    ],
)
def test_what_only_looks_loads_no_library_that_computes(tmp_path, command, unwanted):
    program = f"import sys; sys.argv[1:] = {command.split()}\ntry:\n from recae.cli import main; main()\nfinally:\n print(*sys.modules)"
    environment = os.environ | {"RECAE_HOME": str(tmp_path)}
    shown = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )

    assert shown.returncode == 0, shown.stderr
    assert unwanted.isdisjoint(shown.stdout.splitlines()[-1].split())


def test_serving_loads_no_pandas():
    program = "import recae.api.app, recae.models.registry as models, sys\nfor name in models.names(): models.model_class(name)\nprint(*sys.modules)"
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    assert shown.returncode == 0, shown.stderr
    assert {"pandas", "matplotlib"}.isdisjoint(shown.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("package", ["api", "data", "evaluation", "models", "retrain"])
def test_the_map_of_a_package_names_each_of_its_modules(package):
    folder = ROOT / "recae" / package
    found = {info.name for info in pkgutil.iter_modules([str(folder)])}
    shown = ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or ""

    assert {name for name in found if not re.search(rf"(^\s*|[;,] ){name}\b", shown, re.MULTILINE)} == set()
