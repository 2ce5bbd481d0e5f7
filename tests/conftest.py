"""What every test stands on: one thread each, answers that repeat, and nothing of the developer's own recae."""

import os
from pathlib import Path

import hypothesis
import pytest

# Read when numpy and torch load, and this file comes before them. Tests run in parallel processes, so one thread each
# is the fastest; implicit warns about more.
for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ[variable] = "1"

hypothesis.settings.register_profile("repeatable", derandomize=True, database=None, deadline=None)
hypothesis.settings.load_profile("repeatable")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty RECAE_HOME of the test's own; other settings from outside are hidden, save where the benchmarks lie."""
    for variable in list(os.environ):
        if variable.startswith("RECAE_") and variable != "RECAE_DATA":
            monkeypatch.delenv(variable)
    folder = tmp_path / "home"
    monkeypatch.setenv("RECAE_HOME", str(folder))
    return folder
