"""The command line from outside: real processes, pipes, signals, two at once."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

import pytest
from command_process import CommandProcess, run_command

import lockstep
from lockstep.testing import tiny_model

LOCKSTEP = [sys.executable, "-m", "lockstep_indexer"]
WAIT_S = 60.0
# Sixteen times what is written between two looks at the clock and the lease.
BIG = 4096


def run(*arguments: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*LOCKSTEP, *map(str, arguments)], cwd=cwd, capture_output=True, text=True, check=False
    )


def start(*arguments: str, cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*LOCKSTEP, *arguments],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=_heed_ctrl_c,
    )


def _heed_ctrl_c() -> None:
    """Whoever started the tests in the background made their children deaf to it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def rows(count: int, first: int = 0) -> str:
    texts = (f"document number {n} of many, about topic {n % 17}" for n in range(first, count))
    return "".join(
        json.dumps({"id": f"d{n}", "text": text}) + "\n" for n, text in enumerate(texts, first)
    )


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace whose corpus 'docs' has v1 live, and whose corpus 'big' has no index."""
    root = tmp_path_factory.mktemp("e2e")
    tiny_model(root / "tiny", dim=32)
    (root / "docs.jsonl").write_text(rows(30))
    (root / "big.jsonl").write_text(rows(BIG))
    for line in (
        "init",
        "ingest docs docs.jsonl",
        "ingest big big.jsonl",
        "reindex docs --model ./tiny --promote",
    ):
        done = run_command(*line.split(), cwd=root)
        assert done.returncode == 0, done.stderr
    return root


def building(root: Path, corpus: str) -> bool:
    """Whether a build of the corpus has got somewhere, as another process sees it."""
    from lockstep.bootstrap import open_workspace

    with open_workspace(root) as workspace:
        versions = workspace.catalog.versions(corpus)
        return any(v.state == "building" and v.applied_seq > 0 for v in versions)


def test_the_installed_command_and_the_module_are_the_same() -> None:
    script = Path(sys.executable).with_name("lockstep")
    shown = subprocess.run([script, "--version"], capture_output=True, text=True, check=True)
    assert shown.stdout == run("--version", cwd=Path.cwd()).stdout
    assert shown.stdout == f"lockstep {lockstep.__version__}\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_a_reader_that_leaves_early_is_no_failure(root: Path, options: list[str]) -> None:
    command = " ".join([*LOCKSTEP, "status", "docs", *options])
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"],  # it has left before the first line
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_a_pipe_gets_no_colours_and_no_bars(root: Path) -> None:
    done = run("ingest", "docs", "docs.jsonl", cwd=root)
    assert "\x1b" not in done.stdout + done.stderr
    assert "unchanged" in done.stdout


def in_terminal(command: list[str], cwd: Path, **environment: str) -> str:
    """What a command shows in a terminal of 80 columns."""
    main, side = pty.openpty()
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", **environment}
    with subprocess.Popen(command, cwd=cwd, stdin=side, stdout=side, stderr=side, env=env):
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(main, 65_536):
                shown += chunk
        except OSError:  # how Linux says that the other side is closed
            pass
    os.close(main)
    return shown.decode()


def test_a_terminal_gets_colours_unless_they_are_unwanted(root: Path) -> None:
    command = [*LOCKSTEP, "status", "docs"]
    assert "\x1b[" in in_terminal(command, root)
    plain = in_terminal(command, root, NO_COLOR="1")
    assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", plain)
    assert "live" in plain


def test_two_builds_of_one_thing_at_once(root: Path) -> None:
    first = CommandProcess("reindex", "big", "--model", "tiny", cwd=root)
    try:
        until(lambda: building(root, "big"))
        os.kill(first.pid, signal.SIGSTOP)  # so that it cannot finish before the second one looks
        second = run_command("reindex", "big", "--model", "tiny", cwd=root)
    finally:
        os.kill(first.pid, signal.SIGCONT)
    assert second.returncode == 1
    assert f"process {first.pid}" in second.stderr
    assert "Traceback" not in second.stderr
    done = first.wait()
    assert done.returncode == 0, done.stderr
    assert "big--v0001 built by tiny@1" in done.stdout


def test_ctrl_c_is_safe_and_the_same_command_goes_on(root: Path) -> None:
    (root / "more.jsonl").write_text(rows(BIG + 500, first=BIG))
    assert run_command("ingest", "big", "more.jsonl", cwd=root).returncode == 0
    options = ("reindex", "big", "--model", "tiny", "--window-tokens", "32")
    interrupted = start(*options, cwd=root)
    until(lambda: building(root, "big"))
    os.killpg(interrupted.pid, signal.SIGINT)  # as a terminal does: the workers get it too
    _, err = interrupted.communicate(timeout=WAIT_S)
    assert interrupted.returncode == 130, err
    assert "safe to run the same command again" in err
    assert "Traceback" not in err
    again = json.loads(run_command(*options, "--json", cwd=root).stdout)
    assert again["resumed"] is True
    assert 0 < again["documents"] < again["probe"]["documents"] == BIG + 500


@contextmanager
def serving(root: Path) -> Iterator[str]:
    server = start("serve", "--port", "0", "--no-access-log", "--json", cwd=root)
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line, server.communicate()[1]
        yield json.loads(line)["url"]
    finally:
        server.send_signal(signal.SIGINT)
        _, err = server.communicate(timeout=WAIT_S)
    assert server.returncode == 0, err
    assert "Traceback" not in err


def test_a_running_server_and_the_command_line_share_a_workspace(root: Path) -> None:
    with serving(root) as url:
        assert urlopen(f"{url}/healthz").status == 200
        (root / "new.jsonl").write_text('{"id": "okapi", "text": "an okapi is no zebra"}\n')
        ingested = run_command("ingest", "docs", "new.jsonl", "--json", cwd=root)
        assert ingested.returncode == 0, ingested.stderr
        (index,) = json.loads(ingested.stdout)["indexes"]
        # The server may have applied it before this process could look.
        assert index["applied"] == 0
        assert index["left_to"] is None or re.search(r"process \d+", index["left_to"])

        refused = run_command("search", "docs", "okapi", cwd=root)
        assert refused.returncode == 1
        assert "lockstep serve" in refused.stderr

        def caught_up() -> bool:
            shown = json.loads(run_command("status", "docs", "--json", cwd=root).stdout)
            return bool(shown["versions"][0]["lag"] == 0)

        until(caught_up)
    found = json.loads(run_command("search", "docs", "okapi", "--json", cwd=root).stdout)
    assert found["answers"][0]["hits"][0]["document_id"] == "okapi"


def test_bytes_that_are_no_text_are_no_crash(root: Path) -> None:
    done = subprocess.run(
        [*LOCKSTEP, "search", b"\xff\xfe", "caf\u00e9"], cwd=root, capture_output=True, check=False
    )
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stderr.startswith(b"error: ")
