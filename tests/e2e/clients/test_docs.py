"""The examples of docs/clients.md run as they are written."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[3] / "docs" / "clients.md"
EXAMPLES = re.findall(r"```python\n(.*?)```", PAGE.read_text(), flags=re.DOTALL)


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_runs(number: int, url: str, capsys: pytest.CaptureFixture[str]) -> None:
    example = EXAMPLES[number].replace("http://127.0.0.1:7333", url)
    for package in ("langchain", "llama_index"):
        if f"integrations.{package}" in example:
            pytest.importorskip({"langchain": "langchain_core"}.get(package, package))
    exec(compile(example, str(PAGE), "exec"), {})
    assert capsys.readouterr().out


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 5
