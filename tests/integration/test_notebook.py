"""notebook.ipynb runs from top to bottom, and says what its committed outputs say.

Run: pytest tests/integration/test_notebook.py -s     # -s shows the time that it took
"""

from __future__ import annotations

import base64
import copy
import re
import time

import pytest

from knowledge_neurons import ROOT
from tests.reference.outputs import same

nbformat = pytest.importorskip("nbformat", reason="nbformat, of the extra `notebook`, is missing")
pytest.importorskip("nbclient", reason="nbclient, of the extra `notebook`, is missing")
pytest.importorskip("ipykernel", reason="ipykernel, of the extra `notebook`, is missing")

from scripts import run_notebook  # noqa: E402  (needs them)

PNG, PLAIN = "image/png", "text/plain"
COMMITTED = nbformat.read(run_notebook.NOTEBOOK, as_version=4)
CODE = [place for place, cell in enumerate(COMMITTED.cells) if cell.cell_type == "code"]


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> nbformat.NotebookNode:
    """The notebook executed anew, in a kernel of this interpreter that finds this source."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT / "src"))
        patch.setenv("IPYTHONDIR", str(tmp_path_factory.mktemp("ipython")))  # not the user's
        started = time.monotonic()
        notebook = run_notebook.executed(copy.deepcopy(COMMITTED))
    print(f"\nnotebook.ipynb took {time.monotonic() - started:.1f} s")
    return notebook


@pytest.mark.parametrize("place", CODE)
def test_a_cell_says_what_is_committed(executed, place: int):
    """The same kinds of output in the same order; texts the same but for last digits."""
    told, expected = executed.cells[place].outputs, COMMITTED.cells[place].outputs
    assert [kinds(one) for one in told] == [kinds(one) for one in expected]
    for one, other in zip(told, expected, strict=True):
        for kind, text in texts(one).items():
            assert same(text, texts(other)[kind]), f"{text}\n--- committed:\n{texts(other)[kind]}"


def test_it_is_kept_as_it_would_be_written(executed):
    """Nothing in the file that changes from one execution to the next, and no cell out of order."""
    tidied = run_notebook.tidy(copy.deepcopy(COMMITTED))
    assert nbformat.writes(COMMITTED) == nbformat.writes(tidied)
    assert [COMMITTED.cells[place].execution_count for place in CODE] == list(
        range(1, len(CODE) + 1)
    )


def test_pictures_are_kept():
    """Four pictures at least, each a PNG of a size to be read on a page."""
    pictures = [
        base64.b64decode(output.data[PNG])
        for place in CODE
        for output in COMMITTED.cells[place].outputs
        if PNG in output.get("data", {})
    ]
    assert len(pictures) >= 4
    for picture in pictures:
        assert picture[:8] == b"\x89PNG\r\n\x1a\n"
        width, height = (int.from_bytes(picture[at : at + 4], "big") for at in (16, 20))
        assert 400 <= width <= 1200 and 150 <= height <= 900


def test_text_stands_before_every_cell():
    """It teaches: a cell of text before each of code; and only of the library's own modules."""
    for place in CODE:
        assert COMMITTED.cells[place - 1].cell_type == "markdown", COMMITTED.cells[place].source
    source = "\n".join(COMMITTED.cells[place].source for place in CODE)
    imported = set(re.findall(r"^(?:from|import) (\S+)", source, re.MULTILINE))
    assert imported == {"json", "pathlib", "matplotlib", "knowledge_neurons"}


def test_paths_that_it_names_exist():
    """Files and folders of the repository that its text or code sends the reader to."""
    source = "\n".join(cell.source for cell in COMMITTED.cells)
    named = set(re.findall(r"\b(?:scripts|docs|data|models/demo)[\w/.-]*\w", source))
    assert len(named) >= 4
    assert [name for name in named if not (ROOT / name).exists()] == []


def kinds(output) -> list[str]:
    """ "stream stdout", or the formats of a result."""
    return sorted(output.get("data", {})) or [f"{output.output_type} {output.get('name')}"]


def texts(output) -> dict[str, str]:
    """What an output says, by format; not its pictures."""
    data = output.get("data", {PLAIN: output.get("text", "")})
    return {kind: text for kind, text in data.items() if kind != PNG}
