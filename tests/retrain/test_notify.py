"""Who is told: a real command, a real server, and what happens when they fail."""

import errno
import json
import shlex
import socket
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from pydantic import ValidationError

from recae.retrain import notify as notifying
from recae.retrain.notify import notify
from recae.retrain_settings import NotifySettings
from recae.runs import Run
from tests.servers import free_port

RUN = Run(run_id="r1", status="refused", message="not_worse: no", started=datetime(2026, 1, 1, tzinfo=UTC))


@pytest.fixture
def hook():
    """A server that keeps what is posted to it, and fails as often as it is told to."""
    posted, failures = [], []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = failures.pop() if failures else 204
            if status == 204:
                posted.append((self.headers["Content-Type"], json.loads(body)))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", posted, failures
    server.shutdown()
    server.server_close()


def test_a_command_gets_the_record_and_the_end(tmp_path):
    script = tmp_path / "tell.py"
    script.write_text(
        "import json, os, sys\n"
        "run = json.load(sys.stdin)\n"
        "open(sys.argv[1], 'w').write(f\"{run['run_id']} {os.environ['RECAE_RUN_STATUS']}\")\n"
    )

    assert notify(RUN, NotifySettings(command=f"{sys.executable} {script} {tmp_path / 'told'}")) == ""
    assert (tmp_path / "told").read_text() == "r1 refused"


def test_a_webhook_gets_the_record_as_json(hook):
    url, posted, _ = hook

    assert notify(RUN, NotifySettings(webhook=url)) == ""
    ((kind, told),) = posted
    assert kind == "application/json"
    assert (told["run_id"], told["status"], told["message"]) == ("r1", "refused", "not_worse: no")


def test_a_webhook_that_fails_once_is_tried_again(hook, monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_S", 0.01)
    url, posted, failures = hook
    failures.append(503)

    assert notify(RUN, NotifySettings(webhook=url)) == ""
    assert len(posted) == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"command": "/no/such/program"}, "No such file"),
        ({"command": "false"}, "ended with 1"),
        ({"command": f"{sys.executable} -c 'import time; time.sleep(60)'", "timeout_s": 0.2}, "timed out"),
        ({"webhook": f"http://127.0.0.1:{free_port()}", "timeout_s": 0.2}, "webhook failed"),
    ],
)
def test_what_goes_wrong_is_said_and_never_raised(settings, said, monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_S", 0.01)

    assert said in notify(RUN, NotifySettings(**settings))


def test_what_answers_a_webhook_need_not_speak_http(monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_S", 0.0)
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet():
            for _ in range(notifying.TRIES):
                connection, _ = server.accept()
                connection.sendall(b"SSH-2.0-OpenSSH_9.6\r\n")
                connection.close()

        threading.Thread(target=greet, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}"

        assert "the webhook failed" in notify(RUN, NotifySettings(webhook=url))


def test_a_url_that_no_settings_would_let_through_is_a_remark_too(monkeypatch):
    monkeypatch.setattr(notifying, "PAUSE_S", 0.0)

    assert "the webhook failed" in notify(RUN, NotifySettings.model_construct(webhook="no url"))


@pytest.mark.parametrize(
    "url", ["http://", "http://exa mple.org/x", "http://host:99999/", "https:///x", "ftp://host"]
)
def test_a_webhook_that_names_no_host_is_refused(url):
    with pytest.raises(ValidationError, match="expected"):
        NotifySettings(webhook=url)


def test_a_command_may_say_what_is_no_text():
    command = f"{sys.executable} -c 'import os; os.write(1, bytes([255]))'"

    assert notify(RUN, NotifySettings(command=command)) == ""


def python(code):
    return NotifySettings(command=shlex.join([sys.executable, "-c", code]), timeout_s=20)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (b"Trying smtp\nmail: cannot reach  smtp:25\n\n", "ended with 3: mail: cannot reach smtp:25"),
        (b"\x1b[31mno \xff mail\x1b[0m\r\n", "ended with 3: [31mno \ufffd mail [0m"),
        (b"x" * 100_000, "ended with 3: " + "x" * notifying.MOST_SAID + "..."),
        (b"", "ended with 3"),
    ],
    ids=["several lines", "no text", "too long", "nothing"],
)
def test_the_last_line_of_a_command_that_fails_is_said(written, said):
    problem = notify(RUN, python(f"import os; os.write(2, {written!r}); os._exit(3)"))

    assert problem == f"the command to notify {said}"


def test_what_a_command_says_that_succeeds_is_no_problem():
    assert notify(RUN, python("import os; os.write(2, b'sent')")) == ""


def test_what_a_command_leaves_running_is_not_waited_for():
    started = time.monotonic()

    assert (
        notify(RUN, NotifySettings(command="sh -c 'sleep 5 & exit 1'"))
        == "the command to notify ended with 1"
    )
    assert time.monotonic() - started < 4


def test_a_command_is_called_where_nothing_can_be_kept_of_what_it_says(monkeypatch):
    def read_only():
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(notifying, "TemporaryFile", read_only)

    assert notify(RUN, NotifySettings(command="sh -c 'exit 4'")) == "the command to notify ended with 4"


def test_a_shell_runs_where_it_is_the_program(tmp_path):
    told = tmp_path / "told"

    assert (
        notify(
            RUN, NotifySettings(command=f"sh -c 'cat | wc -l > {told} && echo $RECAE_RUN_STATUS >> {told}'")
        )
        == ""
    )
    assert told.read_text().split() == ["0", "refused"]

    assert notify(RUN, NotifySettings(command=f"{sys.executable} -c pass | tee {tmp_path / 'other'}")) == ""
    assert not (tmp_path / "other").exists(), "without a shell, | is a word like any other"


def test_an_end_that_nobody_wants_to_hear_of_is_not_told(hook):
    url, posted, _ = hook

    assert notify(RUN, NotifySettings(webhook=url, on=("failed",))) == ""
    assert posted == []
