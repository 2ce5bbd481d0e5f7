"""A training that is stopped from outside: a real process, Ctrl-C and kill -9, and then the same model as without."""

import json
import signal
import subprocess
import sys

import pytest
from click.testing import CliRunner

from recae.cli import cli
from tests import processes

PATIENCE_S = 60
N_USERS, N_ITEMS, EPOCHS = 60, 8, 60


@pytest.fixture(autouse=True)
def one_thread(tmp_path, monkeypatch):
    monkeypatch.setenv("RECAE_THREADS", "1")
    monkeypatch.chdir(tmp_path)


@pytest.fixture(autouse=True)
def heard_signals():
    """Ctrl-C reaches the processes started here, even if this one was told to ignore it, as in the background of a shell."""
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # an ignored signal is inherited, a handler is not
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def log(tmp_path):
    """Even users take the even items, odd users the odd ones, each but one of their own."""
    pairs = [
        f"{user},{item}"
        for user in range(N_USERS)
        for item in range(N_ITEMS)
        if (user + item) % 2 == 0 and (user // 2) % N_ITEMS != item
    ]
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["user_id,item_id", *pairs]) + "\n")
    return path


def in_process(*arguments):
    done = CliRunner().invoke(cli, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def stopped_by(sent, arguments, checkpoint):
    """Start the command in a process, and send it the signal when ``checkpoint`` has been written and rewritten."""
    versions = set()

    def rewritten():
        if checkpoint.exists():
            versions.add(checkpoint.stat().st_ino)
        return len(versions) >= 2

    return processes.stopped(processes.recae(*arguments), sent, rewritten)


@pytest.mark.parametrize(
    ("sent", "share", "phase"), [(signal.SIGINT, 0.2, "epochs"), (signal.SIGKILL, 0.0, "final")]
)
def test_a_stopped_training_is_resumed_to_the_model_of_an_unbroken_one(log, home, sent, share, phase):
    settings = {"epochs": EPOCHS, "n_hidden": 6, "n_latent": 2, "batch_size": 60, "patience": "null"}
    arguments = ["train", log, "--model", "mult_vae", "--validation-share", share, "--json"]
    arguments += [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    checkpoint = home / "checkpoints" / f"mult_vae.{phase}"

    code, said = stopped_by(sent, arguments, checkpoint)
    if sent == signal.SIGINT:
        assert code == 130
        assert "the same command with --resume goes on from there" in said
        assert "Traceback" not in said
    else:
        assert code == -signal.SIGKILL
        (checkpoint.parent / ".mult_vae.final.half.tmp").touch()  # as a kill in the middle of writing leaves
    assert checkpoint.exists()
    assert not list((home / "models").glob("*/manifest.json")), "it was stopped before the end"

    resumed = in_process(*arguments, "--resume")
    assert list(checkpoint.parent.iterdir()) == []
    whole = in_process(*arguments)
    assert resumed["files"]["weights.safetensors"] == whole["files"]["weights.safetensors"]
    assert resumed["version"] != whole["version"]


def test_ctrl_c_while_the_program_is_loading_ends_it_in_one_line():
    program = """
import runpy, sys
class Interrupted:
    def find_spec(self, name, *_of):
        if name == "click":
            raise KeyboardInterrupt
sys.meta_path.insert(0, Interrupted())
sys.argv = ["recae", "--help"]
runpy.run_module("recae", run_name="__main__")
"""
    ended = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "stopped\n")
