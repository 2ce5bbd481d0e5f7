"""What a stored model needs is loaded when it is served, and no more: its first answer is waited for."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.models.cases import CASES

PROGRAM = """
import sys
from recae.models.registry import load_model

for file in sys.argv[1:]:
    model = load_model(file)
    rows = model.histories_[[0, 1]]
    model.score(rows)
    model.recommend([0, 1], rows, N=3)
    model.similar_items(0)
    for compiler in ("torch._dynamo", "sympy"):
        if compiler in sys.modules:
            sys.exit(f"{model.name} has loaded {compiler}")
print("none")
"""


def test_no_stored_model_loads_the_compiler_of_torch(tmp_path):
    files = []
    for number, case in enumerate(CASES):
        files.append(str(tmp_path / f"{number}.safetensors"))
        case.make().fit(case.data, show_progress=False).save(files[-1])
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *files],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == "none\n", done.stderr


def test_the_environment_holds_its_libraries_compiled():
    if not (Path(sys.prefix) / ".installed").exists():
        pytest.skip("not an environment of the Makefile")
    assert Path(importlib.util.cache_from_source(torch.nn.__file__)).exists()
