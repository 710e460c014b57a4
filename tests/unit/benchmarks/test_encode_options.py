"""Wrong flags of `benchmarks.encode` end in one line, before anything is measured."""

import subprocess
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from benchmarks.encode_options import asked


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line after the usage."""
    with pytest.raises(SystemExit) as caught:
        asked("Encoding", list(arguments))
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--rounds", "0"], "--rounds: it is '0'; expected a whole number of at least 1"),
        (["--texts", "0"], "--texts: it is '0'; expected"),
        (["--texts=-5"], "--texts: it is '-5'; expected"),
        (["--model", "nosuch"], "expected minilm, bert-base, bert-large or such a folder"),
        (["--device", "bogus"], "--device: The device 'bogus' cannot be used"),
        (["--data", "/nonexistent"], "--data: '/nonexistent' is no folder"),
        (["--server", "http://127.0.0.1:9"], "'http://127.0.0.1:9' does not answer"),
        (["--server", "nowhere"], "'nowhere' does not answer"),
    ],
)
def test_a_wrong_flag(capsys: pytest.CaptureFixture[str], arguments: list[str], said: str) -> None:
    assert said in refused(capsys, "--device", "cpu", *arguments)


def test_a_collection_that_is_not_there(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "nfcorpus").mkdir()
    (tmp_path / "nfcorpus" / "corpus.jsonl").touch()
    said = refused(capsys, "--device", "cpu", "--data", str(tmp_path))
    assert "medquad' has no corpus.jsonl; expected one of nfcorpus" in said
    there = asked("", ["--device", "cpu", "--data", str(tmp_path), "--collection", "nfcorpus"])
    assert there.corpus == tmp_path / "nfcorpus"


class NamelessRefused(BaseHTTPRequestHandler):
    """Knows one model, by its name, as vLLM does."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        known = b'"ours"' in body
        self.send_response(200 if known else 404)
        self.end_headers()
        self.wfile.write(b'{"data": [{"embedding": [1.0]}]}' if known else b"no such model")

    def log_message(self, *_: object) -> None:
        pass


def test_a_server_that_wants_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    with HTTPServer(("127.0.0.1", 0), NamelessRefused) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        flags = ["--device", "cpu", "--server", f"http://127.0.0.1:{server.server_port}"]
        assert "answers 404 to no model's name (--server-model" in refused(capsys, *flags)
        assert asked("", [*flags, "--server-model", "ours"]).server_model == "ours"
        server.shutdown()


def test_make_passes_every_flag() -> None:
    given = ["SERVER=http://h", "SERVER_MODEL=m", "DEVICE=cpu", "ROUNDS=3", "COLLECTION=c"]
    made = subprocess.run(
        ["make", "--dry-run", "bench-encode", *given],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=True,
    )
    words = " ".join(made.stdout.replace("\\\n", " ").split())
    assert "--server http://h --server-model m --device cpu --rounds 3 --collection c" in words
