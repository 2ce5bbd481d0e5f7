"""Facts about the checkout that must stay true: what is in it, and that its documents name what exists."""

import ast
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import recae
from recae.cli import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
REQUIRED = [Requirement(line) for line in PROJECT["dependencies"]]
REQUIRED_BY_EXTRAS = [
    Requirement(line) for extra in PROJECT["optional-dependencies"].values() for line in extra
]

MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:w[o]rk|f[a]rm|r[o]ot|U[s]ers)/")
"""A folder of somebody's machine; spelled so that this file does not match itself."""


def project_files() -> list[Path]:
    """Every file that is or would be committed."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("only a git checkout knows which files are the project's")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def text_files() -> Iterator[tuple[Path, str]]:
    for path in project_files():
        try:
            yield path, path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue  # Parquet and the like


def code_in(markdown: str) -> list[str]:
    """Lines of the fenced blocks, without prompts and comments, and the spans between backticks."""
    blocks = re.findall(r"^```[^\n]*\n(.*?)^```", markdown, flags=re.MULTILINE | re.DOTALL)
    lines = [re.sub(r"^\$ |\s+#.*", "", line).strip() for block in blocks for line in block.splitlines()]
    return lines + re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", markdown, flags=re.DOTALL))


def words_after(program: str, markdown: str) -> list[str]:
    """The distinct first words after ``program`` in the code of a document: ``make run`` gives ``run``."""
    pattern = re.compile(rf"(?:\.venv/bin/)?{program} ([a-z][\w-]*)")
    return sorted({found[1] for line in code_in(markdown) if (found := pattern.match(line))})


def named(requirements: list[Requirement]) -> set[str]:
    return {canonicalize_name(requirement.name) for requirement in requirements}


def imported_by(*folders: str) -> set[str]:
    """Names of the distributions whose modules the code in some folders imports."""
    files = [path for folder in folders for path in (ROOT / folder).rglob("*.py")]
    modules = set()
    for node in (node for path in files for node in ast.walk(ast.parse(path.read_text()))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            modules.add(node.module.partition(".")[0])
    beside = {path.stem for path in files}  # scripts import their neighbours
    modules -= sys.stdlib_module_names | {"recae", "tests"} | beside
    providers = packages_distributions()
    return {canonicalize_name(name) for module in modules for name in providers.get(module, [module])}


def test_no_file_names_a_folder_of_one_machine():
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path, text in text_files()
        for number, line in enumerate(text.splitlines(), start=1)
        if MACHINE_PATH.search(line)
    ]

    assert found == []


def test_no_file_is_larger_than_three_megabytes():
    assert [path.name for path in project_files() if path.stat().st_size > 3_000_000] == []


def test_the_readme_layout_table_names_every_folder():
    folders = {
        path.relative_to(ROOT).parts[0] for path in project_files() if len(path.relative_to(ROOT).parts) > 1
    }
    named = set(re.findall(r"^\|\s*\[?`(\w+)/`", README, flags=re.MULTILINE))

    assert named >= {folder for folder in folders if not folder.startswith(".")}


def test_the_package_and_the_project_have_one_version():
    assert recae.__version__ == PROJECT["version"]


def test_the_changelog_tells_of_this_version():
    headings = re.findall(r"^## \[([^\]]+)\]", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE)

    assert headings, "no version heading"
    assert headings[0] in {"Unreleased", PROJECT["version"]}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_every_make_target_in_a_document_exists(document):
    named = words_after("make", (ROOT / document).read_text())
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))

    assert named, "the document shows no make command"
    assert set(named) <= targets


def test_every_command_in_the_readme_exists():
    named = words_after("recae", README)

    assert named, "the README shows no recae command"
    assert set(named) <= set(cli.commands)


def test_the_package_imports_its_dependencies_all_of_them_and_nothing_else():
    programs, parts_of_flask, by_extras = (
        {"gunicorn", "tzdata"},
        {"werkzeug"},
        {
            "h5py",
            "httpx",
            "optuna",
            "psycopg",
            "tomli-w",
        },
    )

    assert imported_by("recae") - parts_of_flask - by_extras | programs == named(REQUIRED)


def test_tests_and_benchmarks_import_declared_dependencies_only():
    assert imported_by("tests", "evaluation", "data", "api") <= named(REQUIRED + REQUIRED_BY_EXTRAS)


def test_the_lock_pins_every_requirement_and_names_no_index_and_no_machine():
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    locked = [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]
    pins = {canonicalize_name(pin.name): str(pin.specifier).removeprefix("==") for pin in locked}

    assert [str(pin) for pin in locked if not re.fullmatch(r"==[0-9][\w.]*", str(pin.specifier))] == []
    for requirement in REQUIRED + REQUIRED_BY_EXTRAS:
        assert requirement.specifier.contains(pins[canonicalize_name(requirement.name)]), requirement


def test_the_ci_script_runs_the_tests():
    script = ROOT / ".ci" / "run"

    assert os.access(script, os.X_OK)
    assert "make test" in script.read_text().splitlines()[-1]
