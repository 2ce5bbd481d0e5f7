"""The README of the API is true: its curl lines run, one after the other, and get the answers shown."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from recae.artifacts import ModelStore
from tests.servers import free_port, running

README = (Path(__file__).parents[2] / "api" / "README.md").read_text()
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
CHANGING = {"recommendation_id", "model_version", "took_ms", "request_id"}
SHOWN = [
    (block.strip(), json.loads(answer) if kind == "json" else None)
    for (_, block), (kind, answer) in zip(BLOCKS, [*BLOCKS[1:], ("", "")], strict=True)
    if block.startswith("curl")
]


def lasting(answer):
    if isinstance(answer, dict):
        return {key: lasting(value) for key, value in answer.items() if key not in CHANGING}
    if isinstance(answer, list):
        return [lasting(value) for value in answer]
    return pytest.approx(answer, abs=2e-4) if isinstance(answer, float) else answer


def test_every_curl_line_of_the_readme_runs_and_gets_the_answer_shown(tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    recae = [sys.executable, "-m", "recae", "--home", str(tmp_path), "train", "--set", "l2=200"]
    for more in ([], ["--no-promote"]):
        subprocess.run([*recae, *more], cwd=tmp_path, check=True, capture_output=True)
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation" / "results.json").write_text('{"command": "recae evaluate"}')
    other = ModelStore(tmp_path / "models").versions()[1]
    port = free_port()
    with running([sys.executable, "-m", "recae", "serve"], tmp_path, port):
        for commands, answer in SHOWN:
            for command in commands.split("\ncurl ") if answer is None else [commands]:
                line = f"curl {command.removeprefix('curl ')}".replace("127.0.0.1:8000", f"127.0.0.1:{port}")
                line = line.replace("VERSION", other)
                said = subprocess.run(line, shell=True, capture_output=True, text=True, check=True).stdout
                body = json.loads(said)
                if answer is None:
                    assert "error" not in body, (line, body)
                else:
                    assert lasting(body) == lasting(answer), (line, body)
