"""scripts/get_data.py --counterfact against a folder and a loopback web server.

Run: pytest tests/integration/test_get_counterfact.py
"""

import json
import sys

import pytest

from tests.integration.test_get_data import (
    ROOT,
    files_under,
    get_data,
    put,
    server,  # noqa: F401
)

sys.path.insert(0, str(ROOT / "scripts"))
import counterfact

CASES = json.loads((ROOT / "data/COUNTERFACT/sample_counterfact.json").read_bytes())
RAW = json.dumps(CASES, indent=1).encode()
ADDRESS, HERE = counterfact.ADDRESS.cases, counterfact.NAME


@pytest.fixture
def build(monkeypatch, tmp_path):
    """Runs get_data.py --counterfact, which expects as many records as our sample has."""
    monkeypatch.setattr(counterfact, "RECORDS", len(CASES))
    flags = ["--counterfact", "--output", str(tmp_path / "data")]
    return lambda *more: get_data.main([*flags, *map(str, more)])


def test_the_file_is_taken_over_byte_for_byte_and_kept(server, tmp_path, build, capsys):  # noqa: F811
    server.files = {ADDRESS: RAW}
    assert build("--url", server.url) == 0
    assert files_under(tmp_path / "data") == [HERE]
    assert (tmp_path / "data" / HERE).read_bytes() == RAW
    told = capsys.readouterr().out
    assert "36 cases of 6 relations, written" in told and "10_question_edits.py --from" in told
    assert build("--url", server.url) == 0
    assert server.requests == [ADDRESS] and "kept" in capsys.readouterr().out
    assert build("--url", server.url, "--force") == 0
    assert server.requests == [ADDRESS] * 2


def test_what_passed_its_check_is_not_fetched_twice(server, tmp_path, build, monkeypatch):  # noqa: F811
    """A run that ended between the two finds its download."""
    server.files = {ADDRESS: RAW}
    monkeypatch.setattr(counterfact, "write_atomic", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        build("--url", server.url)
    monkeypatch.undo()
    monkeypatch.setattr(counterfact, "RECORDS", len(CASES))
    assert build("--url", server.url) == 0
    assert server.requests == [ADDRESS]


@pytest.mark.parametrize(
    "raw, told",
    [
        (RAW[:-5], "not valid JSON"),
        (json.dumps(CASES[1:]).encode(), "got 35 records, expected 36"),
        (json.dumps([{}, *CASES[1:]]).encode(), "record 0: "),
        (b"<html>", "not valid JSON"),
    ],
)
def test_a_source_that_is_not_whole_writes_nothing(server, tmp_path, build, capsys, raw, told):  # noqa: F811
    server.files = {ADDRESS: raw}
    assert build("--url", server.url) == 2
    assert files_under(tmp_path / "data") == []
    error = capsys.readouterr().err
    assert told in error and "--url" in error and error.count("\n") == 1


def test_from_a_folder(tmp_path, build, capsys):
    for layout in (counterfact.FLAT, counterfact.CLONE):
        folder = put(tmp_path / layout.cases.replace("/", "-"), {layout.cases: RAW})
        assert build("--from", folder, "--force") == 0
        assert (tmp_path / "data" / HERE).read_bytes() == RAW
    assert build("--from", tmp_path / "nowhere", "--force") == 2
    assert "https://github.com/kmeng01/rome" in capsys.readouterr().err


def test_two_jobs_are_refused(build, capsys):
    assert build("--mpararel") == 2
    assert "--mpararel and --counterfact are two jobs" in capsys.readouterr().err
