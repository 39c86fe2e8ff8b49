"""docs/library.md: its examples give what it says, and no method is missing.

Run: pytest tests/unit/test_docs_library.py
"""

import doctest
import inspect
import re
from pathlib import Path

import pytest

from knowledge_neurons import ROOT, KnowledgeNeurons
from tests.reference.outputs import AsPrinted, same

PAGE = ROOT / "docs/library.md"
TEXT = PAGE.read_text()
BLOCK = re.compile(r"```python\n(.*?)```", re.DOTALL)
EXAMPLES = "\n".join(BLOCK.findall(TEXT))
METHODS = [name for name, _ in inspect.getmembers(KnowledgeNeurons, callable) if name[0] != "_"]


def test_examples_give_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """All in one session, as a reader would type them, in a folder with the repository's models."""
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MPLBACKEND", "agg")
    names: dict = {}
    runner = doctest.DocTestRunner(AsPrinted(), verbose=False)
    said: list[str] = []
    for block in BLOCK.finditer(TEXT):
        line = TEXT[: block.start(1)].count("\n")
        test = doctest.DocTestParser().get_doctest(block[1], {}, PAGE.name, str(PAGE), line)
        test.globs = names
        runner.run(test, out=said.append, clear_globs=False)
    results = runner.summarize(verbose=False)
    assert results.failed == 0, "".join(said)
    assert results.attempted > len(METHODS)


def test_every_method_has_an_example_and_a_row():
    """And no row is of a method that is gone."""
    assert sorted(re.findall(r"^\| `(\w+)\(", TEXT, re.MULTILINE)) == sorted(METHODS)
    for method in METHODS:
        assert re.search(rf"(?:kn|KnowledgeNeurons)\.{method}\(", EXAMPLES), method


@pytest.mark.parametrize(
    ("got", "expected", "is_same"),
    [
        ("P 0.703  -45.1%", "P  0.704 -45.2%", True),
        ("P 0.703", "P 0.705", False),
        ("0.42", "0.419", True),
        ("1.1e-08", "1.2e-08", True),
        ("1.1e-08", "1.3e-08", False),
        ("layer 3", "layer 2", False),
        ("-44.2%", "+44.2%", False),
        ("Rome 0.04", "Paris 0.04", False),
        ("(3, 7) and (3, 8)", "(3, 7)", False),
    ],
)
def test_what_counts_as_the_same_output(got: str, expected: str, is_same: bool):
    assert same(got, expected) is is_same
