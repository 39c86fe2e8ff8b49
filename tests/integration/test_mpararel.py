"""scripts/get_data.py --mpararel against tiny sources: folders, a loopback web server, failures.

    pytest tests/integration/test_mpararel.py

The last test builds from the real files where a copy of them lies beside the project.
"""

import json
import sys
from pathlib import Path

import pytest

from tests.integration.test_get_data import (
    ROOT,
    SHARED_DATA,
    files_under,
    get_data,
    put,
    server,  # noqa: F401
    snapshot,
)

sys.path.insert(0, str(ROOT / "scripts"))
import mpararel
from mpararel_files import FULL, Expected, Language

OTHERS = frozenset(mpararel.FULL.languages["en"].relations) - {"P36", "P37"}
LANGUAGES = {
    "en": Language(4, OTHERS),
    "fr": Language(3, OTHERS),
    "la": Language(1, OTHERS | {"P37"}),
}
TINY = Expected(LANGUAGES, rows=9, facts=4, everywhere=1)
PATTERNS = {
    "en/P36": ["The capital of [X] is [Y].", "[Y], capital of [X]"],
    "en/P37": ["[Y] is the language of [X]", "[X] speaks [Y]"],
    "fr/P36": ["La capitale : [X], [Y]", "[Y] ([X])"],
    "fr/P37": ["[X] parle [Y]"],
    "la/P36": ["[X] caput habet [Y]."],
}
# relation -> (sub_uri, obj_uri) -> lineid, then the labels by language; not in the order of lineid.
FACTS = {
    "P36": [
        ("Q142", "Q90", 7, {"en": ("France", "Paris"), "fr": ("la [Y] France", "Paris")}),
        ("Q38", "Q220", 3, {"en": ("Italy", "Rome"), "fr": ("Italie", "Rome"), "la": ("It", "Ro")}),
    ],
    "P37": [
        ("Q142", "Q150", 1, {"en": ("France", "French"), "fr": ("France", "français")}),
        ("Q38", "Q652", 0, {"en": ("Italy", "Italian"), "fr": ("\t", "italien")}),
    ],
}
ENGLISH = {
    "P36": [
        [
            ["The capital of Italy is [MASK].", "Rome", "P36(capital)"],
            ["[MASK], capital of Italy", "Rome", "P36(capital)"],
        ],
        [
            ["The capital of France is [MASK].", "Paris", "P36(capital)"],
            ["[MASK], capital of France", "Paris", "P36(capital)"],
        ],
    ],
    "P37": [
        [
            ["[MASK] is the language of Italy", "Italian", "P37(official language)"],
            ["Italy speaks [MASK]", "Italian", "P37(official language)"],
        ],
        [
            ["[MASK] is the language of France", "French", "P37(official language)"],
            ["France speaks [MASK]", "French", "P37(official language)"],
        ],
    ],
}


def contents(layout, facts=FACTS, patterns=PATTERNS) -> dict[str, bytes]:
    """Path -> bytes of the tiny source; a relation that a language has no patterns for is there."""
    files = {}
    for name, texts in patterns.items():
        rows = (json.dumps({"pattern": text, "checked-by-human": True}) for text in texts)
        files[layout.patterns.format(*name.split("/"))] = ("\n".join(rows) + "\n").encode()
    for language in LANGUAGES:
        for relation, own in facts.items():
            rows = [
                {
                    **{"sub_uri": sub, "obj_uri": obj, "lineid": line},
                    **dict(zip(("sub_label", "obj_label"), labels[language], strict=True)),
                }
                for sub, obj, line, labels in own
                if language in labels
            ]
            text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
            files[layout.tuples.format(language, relation)] = text.encode()
    return files


@pytest.fixture(params=["FLAT", "CLONE"])
def folder(request, tmp_path):
    """The tiny source as a local folder, in each layout."""
    return put(tmp_path / "source", contents(getattr(mpararel, request.param)))


@pytest.fixture
def flat(tmp_path):
    return put(tmp_path / "source", contents(mpararel.FLAT))


@pytest.fixture
def build(tmp_path, monkeypatch):
    """Runs the command on the tiny counts."""
    monkeypatch.setattr(mpararel, "FULL", TINY)
    return lambda *flags: get_data.main(["--mpararel", "--output", str(tmp_path / "data"), *flags])


def read(folder, name):
    return json.loads((folder / "data/MPARAREL" / name).read_text())


def test_facts_are_asked_in_each_language_and_joined(folder, tmp_path, build, capsys):
    """Prompts as PARAREL's file has them, the same order in all languages, who each fact is; a head
    that looks like a slot stays, a label that is no name is left out and counted."""
    assert build("--from", str(folder)) == 0
    assert read(tmp_path, "en_allbags.json") == ENGLISH
    assert read(tmp_path, "en_uris.json") == {
        "P36": [["Q38", "Q220"], ["Q142", "Q90"]],
        "P37": [["Q38", "Q652"], ["Q142", "Q150"]],
    }
    assert read(tmp_path, "fr_uris.json")["P37"] == [["Q142", "Q150"]]
    french = read(tmp_path, "fr_allbags.json")
    assert french["P36"][1][0] == ["La capitale : la [Y] France, [MASK]", "Paris", "P36(capital)"]
    assert read(tmp_path, "fr_query_pairs.json")["P36"] == [
        ["Italie", "Rome"],
        ["la [Y] France", "Paris"],
    ]
    assert list(read(tmp_path, "la_allbags.json")) == ["P36"]
    out = capsys.readouterr().out
    assert (
        "fr       2 relations, 3 patterns, 4 rows, 3 facts, 1 left out (no name), 5 prompts" in out
    )
    assert "together 3 languages, 5 pattern files, 8 patterns, 9 rows" in out
    assert "4 facts, 1 of them in every one of these languages" in out


def test_second_run_reads_nothing_and_a_damaged_language_is_made_anew(
    flat, tmp_path, build, capsys
):
    assert build("--from", str(flat), "--languages", "fr,en") == 0
    before = snapshot(tmp_path / "data")
    (flat / "tuples/en/P37.jsonl").unlink()
    assert build("--from", str(flat), "--languages", "en,fr") == 0
    assert "nothing to do" in capsys.readouterr().out
    assert snapshot(tmp_path / "data") == before
    (tmp_path / "data/MPARAREL/fr_uris.json").write_text("{}")
    assert build("--from", str(flat), "--languages", "fr") == 0
    assert "1 of 1 languages written" in capsys.readouterr().out
    assert {f: raw for f, (raw, _) in snapshot(tmp_path / "data").items()} == {
        f: raw for f, (raw, _) in before.items()
    }


def test_from_a_web_server(server, tmp_path, build):  # noqa: F811
    """The same files as from a folder; downloads are removed, a second run asks nothing."""
    server.files = contents(mpararel.CLONE)
    assert build("--url", server.url) == 0
    assert len(server.requests) == 2 * 5 == len(set(server.requests))
    assert read(tmp_path, "en_allbags.json") == ENGLISH
    assert not any("download" in name for name in files_under(tmp_path / "data"))
    server.requests.clear()
    assert build("--url", server.url) == 0
    assert server.requests == []


def test_force_fetches_every_file_anew_and_once(server, tmp_path, build):  # noqa: F811
    """What is written is what was checked: it is not asked for again, though the server changes."""
    server.files = contents(mpararel.CLONE)
    assert build("--url", server.url, "--keep_downloads") == 0
    before = {name: raw for name, (raw, _) in snapshot(tmp_path / "data").items()}
    server.requests.clear()

    def once(handler, nth):
        name = server.requests[-1]
        return server.requests.count(name) > 1 and not handler.answer(b"")

    server.fail = once
    assert build("--url", server.url, "--keep_downloads", "--force") == 0
    assert len(server.requests) == 2 * 5 == len(set(server.requests))
    assert {name: raw for name, (raw, _) in snapshot(tmp_path / "data").items()} == before


def test_force_of_one_language_leaves_the_others_in_the_index(flat, tmp_path, build, capsys):
    """And rewrites that one; the next run has nothing to do."""
    assert build("--from", str(flat)) == 0
    before, index = snapshot(tmp_path / "data"), read(tmp_path, "index.json")
    assert build("--from", str(flat), "--force", "--languages", "fr") == 0
    assert "1 of 1 languages written" in capsys.readouterr().out
    after = snapshot(tmp_path / "data")
    assert read(tmp_path, "index.json") == index and list(index) == ["en", "fr", "la"]
    new = {Path(name).name for name in after if after[name] != before[name]}
    assert new == {"fr_allbags.json", "fr_uris.json", "fr_query_pairs.json", "index.json"}
    assert build("--from", str(flat)) == 0
    assert "nothing to do" in capsys.readouterr().out


def test_a_folder_with_some_languages_builds_those(flat, tmp_path, build, capsys):
    """As where the tuples of others were left away; asked for by name they are an error."""
    for name in ("P36", "P37"):
        (flat / f"tuples/la/{name}.jsonl").unlink()
    (flat / "tuples/la").rmdir()
    assert build("--from", str(flat)) == 0
    assert "not built: la" in capsys.readouterr().out
    assert build("--from", str(flat), "--languages", "la") == 2
    assert "tuples/la/P36.jsonl: not found" in capsys.readouterr().err


def wrong(facts=FACTS, patterns=PATTERNS):
    return contents(mpararel.FLAT, facts, patterns)


def changed(relation, place, **new):
    """FACTS with other uris or lineid of one fact."""
    facts = {name: list(own) for name, own in FACTS.items()}
    old = dict(zip(("sub", "obj", "line", "labels"), facts[relation][place], strict=True))
    facts[relation][place] = tuple((old | new).values())
    return facts


@pytest.mark.parametrize(
    ("files", "said"),
    [
        (
            wrong(patterns=PATTERNS | {"fr/P37": ["[X] : [Y]", "[X]"]}),
            "'[X]', expected one [X] and",
        ),
        (
            wrong(patterns=PATTERNS | {"fr/P37": ["[X]: [Y]"] * 2}),
            "got 4 patterns of fr, expected 3",
        ),
        (wrong(changed("P36", 0, line=3)), "got 3 twice"),
        (wrong(changed("P36", 0, sub="Q38", obj="Q220")), "('Q38', 'Q220') twice"),
        (wrong(changed("P36", 1, labels={"en": ("Italy", "Rome")})), "got 7 rows, expected 9"),
        (wrong(changed("P36", 1, sub="Q39")), "got 0 facts"),
    ],
)
def test_a_source_that_is_not_whole_writes_nothing(files, said, tmp_path, build, capsys):
    if said == "got 0 facts":  # the fact of all three languages is another one in each
        text = files["tuples/la/P36.jsonl"].decode().replace("Q39", "Q40")
        files["tuples/la/P36.jsonl"], said = text.encode(), "got 5 facts, expected 4"
    put(tmp_path / "source", files)
    assert build("--from", str(tmp_path / "source")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


def test_a_fact_in_another_place_elsewhere_is_refused(flat, tmp_path, build, capsys):
    """Otherwise no order would be common to the languages."""
    path = flat / "tuples/fr/P36.jsonl"
    path.write_text(path.read_text().replace('"lineid": 3', '"lineid": 9'))
    assert build("--from", str(flat)) == 2
    error = capsys.readouterr().err
    assert "tuples/fr/P36.jsonl: got lineid 9" in error and "expected 3 as elsewhere" in error


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--languages", "fr,tlh"], "--languages: got tlh, expected some of en, fr, la"),
        (["--only", "pararel"], "--only pararel is a part of PARAREL and BINGREL"),
        (["--published-neurons"], "--mpararel and --published-neurons are two jobs"),
        (["--published_neurons", "x"], "--mpararel and --published-neurons are two jobs"),
        (["--from", "/nowhere"], "clone of https://github.com/coastalcph/mpararel"),
    ],
)
def test_flags_that_cannot_be(flags, said, build, capsys):
    assert build(*flags) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--languages", "fr"], "--languages fr is of mPARAREL: give --mpararel too"),
        (["--languages", "fr", "--published-neurons"], "--languages fr is of mPARAREL"),
        (["--only", "bingrel", "--published-neurons"], "--only bingrel is a part of PARAREL and"),
    ],
)
def test_no_flag_goes_unheard(flags, said, flat, tmp_path, capsys):
    """Of two jobs, or of one that was not asked for; nothing is written."""
    output = tmp_path / "data"
    assert get_data.main(["--from", str(flat), "--output", str(output), *flags]) == 2
    assert said in capsys.readouterr().err
    assert not output.exists()


def test_what_is_expected_of_the_whole():
    """As counted over the repository's files: 46 languages, 1,708 files of patterns."""
    languages = FULL.languages.values()
    assert len(languages) == 46
    assert sum(len(one.relations) for one in languages) == 1_708
    assert sum(one.templates for one in languages) == 15_794


@pytest.mark.skipif(
    not (SHARED_DATA / "mpararel").is_dir(), reason="needs mPARAREL's files beside the project"
)
def test_real_languages(tmp_path, capsys):
    """Two of the six that lie there: 29,659 facts, most of them in both."""
    flags = ["--from", str(SHARED_DATA / "mpararel"), "--languages", "fr,de"]
    assert get_data.main(["--mpararel", "--output", str(tmp_path), *flags]) == 0
    out = capsys.readouterr().out
    assert "36 relations, 431 patterns, 27,027 rows, 27,027 facts, 320,635 prompts" in out
    assert "29,659 facts, 25,189 of them in every one of these languages" in out
