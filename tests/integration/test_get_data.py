"""scripts/get_data.py against tiny sources: folders, a loopback web server, and its failures.

    pytest tests/integration/test_get_data.py

No test leaves this machine. The last one builds the full set where a copy of the sources lies
beside the project.
"""

import hashlib
import importlib.util
import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "scripts" / "get_data.py"
SHARED_DATA = ROOT.parent / "shared" / "data"

sys.path.insert(0, str(SCRIPT.parent))  # its neighbour data_sources
spec = importlib.util.spec_from_file_location("get_data", SCRIPT)
get_data = importlib.util.module_from_spec(spec)
sys.modules["get_data"] = get_data  # dataclasses look their module up
spec.loader.exec_module(get_data)
data_sources = sys.modules["data_sources"]

# P2 before P1, so that order is seen to come from query_pairs.json; a head that looks like a slot.
PAIRS = {"P2": [["Zoë", "Paris"], ["[Y] Inc.", "Rome"]], "P1": [["Ann", "chess"]]}
PATTERNS = {"P2": ["[X] was born in [Y].", "[Y] is where [X] was born."], "P1": ["[X] plays [Y]."]}
LABELS = {"P1": "game", "P2": "place of birth", "P3": "not asked for"}
SENTENCES = {
    "P2": [
        {"th_bags": ["Zoë in Paris."], "h_bags": ["Zoë.", "Zoë!"]},
        {"th_bags": [], "h_bags": []},
    ],
    "P1": [{"th_bags": ["Ann: chess.", "Chess, Ann."], "h_bags": ["Ann."]}],
}
TINY = get_data.Expected(relations=2, facts=3, prompts=5, th_sentences=3, h_sentences=3)
BAGS = {
    "P2": [
        [
            ["Zoë was born in [MASK].", "Paris", "P2(place of birth)"],
            ["[MASK] is where Zoë was born.", "Paris", "P2(place of birth)"],
        ],
        [
            ["[Y] Inc. was born in [MASK].", "Rome", "P2(place of birth)"],
            ["[MASK] is where [Y] Inc. was born.", "Rome", "P2(place of birth)"],
        ],
    ],
    "P1": [[["Ann plays [MASK].", "chess", "P1(game)"]]],
}
FINAL_FILES = [
    "BINGREL/final_distant_allbags_P1_new.json",
    "BINGREL/final_distant_allbags_P2_new.json",
    "PARAREL/data_all_allbags.json",
    "PARAREL/query_pairs.json",
]


def contents(layout) -> dict[str, bytes]:
    """Path -> bytes of the tiny source in a layout; indented, as the authors' files are."""

    def text(value, indent=2):
        return json.dumps(value, ensure_ascii=False, indent=indent).encode()

    files = {layout.pairs: text(PAIRS)}
    rows = [{"relation": r, "template": "-", "label": label} for r, label in LABELS.items()]
    files[layout.labels] = b"\n".join(text(row, None) for row in rows)
    for relation, patterns in PATTERNS.items():
        rows = [text({"pattern": p, "lemma": "-"}, None) for p in patterns]
        files[layout.patterns.format(relation)] = b"\n".join(rows) + b"\n"
        files[layout.bingrel.format(relation)] = text(SENTENCES[relation])
    return files


def put(root: Path, files: dict[str, bytes]) -> Path:
    for name, raw in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(raw)
    return root


def files_under(root: Path) -> list[str]:
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    return {f: ((root / f).read_bytes(), (root / f).stat().st_ino) for f in files_under(root)}


def main(*argv, expected=TINY) -> int:
    return get_data.main([str(a) for a in argv], expected)


@pytest.fixture(params=["FLAT", "CLONE"])
def folder(request, tmp_path):
    """The tiny source as a local folder, in each layout."""
    return put(tmp_path / "source", contents(getattr(data_sources, request.param)))


class Server(ThreadingHTTPServer):
    """Serves `files`; each request is recorded, and answered by `fail(handler, nth)` if that
    returns True."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = contents(data_sources.CLONE)
        self.requests: list[str] = []
        self.fail = lambda handler, nth: False

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/mirror"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.removeprefix("/mirror/")
        self.server.requests.append(name)
        if self.server.fail(self, len(self.server.requests)):
            return
        if name not in self.server.files:
            self.send_error(404)
            return
        self.answer(self.server.files[name])

    def answer(self, body: bytes, length: int | None = None):
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    """The tiny source on a loopback port; retries do not wait."""
    monkeypatch.setattr(data_sources, "BACKOFF_S", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


# --- What is built -------------------------------------------------------------------------------


def test_folder_in_either_layout_gives_the_contract_files(folder, tmp_path, capsys):
    out = tmp_path / "data"
    assert main("--from", folder, "--output", out) == 0
    assert files_under(out) == FINAL_FILES
    text = (out / "PARAREL/data_all_allbags.json").read_bytes()
    assert json.loads(text) == BAGS
    assert list(json.loads(text)) == ["P2", "P1"]
    assert "Zoë".encode() in text and b"\\u" not in text
    source = contents(data_sources.CLONE)
    assert (out / "PARAREL/query_pairs.json").read_bytes() == source[data_sources.CLONE.pairs]
    for relation in PAIRS:
        copy = out / f"BINGREL/final_distant_allbags_{relation}_new.json"
        assert copy.read_bytes() == source[data_sources.CLONE.bingrel.format(relation)]
    printed = capsys.readouterr().out
    assert "3 facts, 5 prompts" in printed and "3 th and 3 h sentences" in printed
    assert hashlib.sha256(text).hexdigest() in printed


def test_combined_bingrel_digest_is_the_one_of_sha256sum(folder, tmp_path, capsys):
    main("--from", folder, "--output", tmp_path / "data")
    lines = [
        f"{hashlib.sha256(f.read_bytes()).hexdigest()}  {f.name}\n"
        for f in sorted((tmp_path / "data/BINGREL").iterdir())
    ]
    assert hashlib.sha256("".join(lines).encode()).hexdigest() in capsys.readouterr().out


def test_verbose_lists_every_bingrel_file(folder, tmp_path, capsys):
    main("--from", folder, "--output", tmp_path / "data", "--verbose")
    printed = capsys.readouterr().out
    assert "final_distant_allbags_P2_new.json: 2 facts, 1 th and 2 h" in printed


@pytest.mark.parametrize("part, kept", [("pararel", FINAL_FILES[2:]), ("bingrel", FINAL_FILES[:2])])
def test_only_builds_one_set(folder, tmp_path, part, kept):
    assert main("--from", folder, "--output", tmp_path / "data", "--only", part) == 0
    assert files_under(tmp_path / "data") == kept


def test_files_of_others_in_the_folders_stay(folder, tmp_path):
    out = put(tmp_path / "data", {"PARAREL/sample_allbags.json": b"{}"})
    assert main("--from", folder, "--output", out, "--force") == 0
    assert (out / "PARAREL/sample_allbags.json").read_bytes() == b"{}"


# --- Again ---------------------------------------------------------------------------------------


def test_second_run_changes_nothing_and_says_so(folder, tmp_path, capsys):
    out = tmp_path / "data"
    main("--from", folder, "--output", out)
    before = snapshot(out)
    capsys.readouterr()
    assert main("--from", folder, "--output", out) == 0
    assert snapshot(out) == before
    assert "present and valid" in capsys.readouterr().out


def test_force_writes_the_same_bytes_again(folder, tmp_path, capsys):
    out = tmp_path / "data"
    main("--from", folder, "--output", out)
    before = snapshot(out)
    assert main("--from", folder, "--output", out, "--force") == 0
    after = snapshot(out)
    assert {f: raw for f, (raw, _) in after.items()} == {f: raw for f, (raw, _) in before.items()}
    assert all(after[f][1] != before[f][1] for f in FINAL_FILES), "a file was not replaced"
    assert "4 of 4 files written" in capsys.readouterr().out


@pytest.mark.parametrize("name", FINAL_FILES)
@pytest.mark.parametrize("damage", ["half", "other shape", "absent"])
def test_damaged_file_in_place_is_built_again_and_only_it(folder, tmp_path, name, damage, capsys):
    out = tmp_path / "data"
    main("--from", folder, "--output", out)
    whole = (out / name).read_bytes()
    if damage == "absent":
        (out / name).unlink()
    else:
        (out / name).write_bytes(whole[: len(whole) // 2] if damage == "half" else b"[1]")
    capsys.readouterr()
    assert main("--from", folder, "--output", out) == 0
    assert (out / name).read_bytes() == whole
    assert "1 of 4 files written" in capsys.readouterr().out


# --- Wrong sources -------------------------------------------------------------------------------


@pytest.mark.parametrize("field", get_data.Expected.__dataclass_fields__)
def test_wrong_count_names_got_and_expected_and_leaves_nothing(folder, tmp_path, field, capsys):
    right = getattr(TINY, field)
    wrong = get_data.Expected(**{**vars(TINY), field: right + 1})
    assert main("--from", folder, "--output", tmp_path / "data", expected=wrong) == 2
    error = capsys.readouterr().err
    assert f"got {right} {field.replace('_', ' ')}, expected {right + 1}" in error
    assert "--force" in error and error.count("\n") == 1
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "kind, damaged, message",
    [
        ("pairs", {"P2": [["Zoë"]]}, "expected 'P101': [[head, tail], ...]"),
        ("pairs", {"../P2": []}, "got '../P2'"),
        ("pairs", [], "JSON of another shape"),
        ("labels", {"relation": "P1", "label": "game"}, "got no label for P2"),
        ("patterns", {"pattern": "[X] was born."}, "expected one [X] and one [Y]"),
        ("patterns", {"lemma": "-"}, "JSON of another shape"),
        ("bingrel", SENTENCES["P2"][:1], "got 1 facts, expected 2"),
        ("bingrel", [{"h_bags": []}, {"h_bags": []}], "JSON of another shape"),
    ],
)
def test_damaged_source_file_is_named(tmp_path, kind, damaged, message, capsys):
    path = getattr(data_sources.FLAT, kind).format("P2")
    source = put(tmp_path / "source", contents(data_sources.FLAT))
    put(source, {path: json.dumps(damaged, ensure_ascii=False).encode()})
    assert main("--from", source, "--output", tmp_path / "data") == 2
    error = capsys.readouterr().err
    assert str(source / path) in error and message in error
    assert not (tmp_path / "data").exists()


def test_prompt_with_a_second_mask_is_refused(tmp_path, capsys):
    files = contents(data_sources.FLAT)
    files[data_sources.FLAT.pairs] = files[data_sources.FLAT.pairs].replace(b"Ann", b"[MASK] Ann")
    source = put(tmp_path / "source", files)
    assert main("--from", source, "--output", tmp_path / "data") == 2
    assert "expected one [MASK]" in capsys.readouterr().err


def test_folder_in_neither_layout_says_what_was_looked_for(tmp_path, capsys):
    assert main("--from", tmp_path, "--output", tmp_path / "data") == 2
    error = capsys.readouterr().err
    for layout in (data_sources.FLAT, data_sources.CLONE):
        assert str(tmp_path / layout.pairs) in error
        assert layout.patterns in error and layout.bingrel in error


def test_missing_source_file_is_named(folder, tmp_path, capsys):
    gone = next(folder.rglob("P1.jsonl"))
    gone.unlink()
    assert main("--from", folder, "--output", tmp_path / "data") == 2
    assert str(gone) in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


# --- Over http -----------------------------------------------------------------------------------


def test_download_equals_local_build_and_cleans_up(server, tmp_path):
    source = put(tmp_path / "source", contents(data_sources.FLAT))
    main("--from", source, "--output", tmp_path / "local")
    assert main("--url", server.url, "--output", tmp_path / "web") == 0
    assert files_under(tmp_path / "web") == FINAL_FILES
    for name in FINAL_FILES:
        assert (tmp_path / "web" / name).read_bytes() == (tmp_path / "local" / name).read_bytes()
    assert sorted(server.requests) == sorted(server.files), "each file is fetched exactly once"


def test_second_run_asks_the_server_for_nothing(server, tmp_path):
    main("--url", server.url, "--output", tmp_path)
    server.requests.clear()
    assert main("--url", server.url, "--output", tmp_path) == 0
    assert server.requests == []


def test_force_fetches_everything_anew_even_with_downloads_kept(server, tmp_path):
    main("--url", server.url, "--output", tmp_path, "--keep_downloads")
    assert len(list((tmp_path / ".download").iterdir())) == len(server.files)
    server.requests.clear()
    assert main("--url", server.url, "--output", tmp_path, "--force") == 0
    assert sorted(server.requests) == sorted(server.files)
    assert not (tmp_path / ".download").exists()


@pytest.mark.parametrize("whole", range(6))
def test_interrupted_download_goes_on_with_the_remaining_files(server, tmp_path, whole, capsys):
    """The server dies for good after `whole` files; the second run fetches the others only."""
    server.fail = lambda handler, nth: nth > whole and not handler.send_error(503)
    assert main("--url", server.url, "--output", tmp_path) == 2
    assert "503" in capsys.readouterr().err
    assert not [f for f in files_under(tmp_path) if not f.startswith(".download")]
    first = server.requests[:whole]
    server.requests.clear()
    server.fail = lambda handler, nth: False
    assert main("--url", server.url, "--output", tmp_path) == 0
    assert sorted(first + server.requests) == sorted(server.files)
    assert files_under(tmp_path) == FINAL_FILES


def test_kill_between_downloads_then_resume(server, tmp_path):
    """A real process, killed while the fourth file is on its way."""
    arrived, killed = threading.Event(), threading.Event()

    def hang(handler, nth):
        if nth == 4:
            arrived.set()
            killed.wait(30)
        return nth >= 4

    server.fail = hang
    code = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import get_data as g;"
        f"g.main(['--url', {server.url!r}, '--output', {str(tmp_path)!r}], g.{TINY!r})"
    )
    process = subprocess.Popen([sys.executable, "-B", "-c", code])
    assert arrived.wait(30)
    process.kill()
    process.wait()
    killed.set()
    first = server.requests[:3]
    server.requests.clear()
    server.fail = lambda handler, nth: False
    assert main("--url", server.url, "--output", tmp_path) == 0
    assert sorted(first + server.requests) == sorted(server.files)


def test_damaged_cache_file_is_fetched_again_and_others_are_not(server, tmp_path):
    main("--url", server.url, "--output", tmp_path, "--keep_downloads")
    cached = next((tmp_path / ".download").glob("*-final_distant_allbags_P2_new.json"))
    cached.write_bytes(cached.read_bytes()[:-20])
    for name in FINAL_FILES:
        (tmp_path / name).unlink()
    server.requests.clear()
    assert main("--url", server.url, "--output", tmp_path) == 0
    assert server.requests == [data_sources.CLONE.bingrel.format("P2")]


def test_downloads_of_one_mirror_are_not_taken_for_those_of_another(server, tmp_path):
    server.files = {f"bad/{n}": raw for n, raw in server.files.items()} | server.files
    server.fail = lambda handler, nth: nth > 3 and not handler.send_error(404)
    assert main("--url", f"{server.url}/bad", "--output", tmp_path) == 2
    server.requests.clear()
    server.fail = lambda handler, nth: False
    assert main("--url", server.url, "--output", tmp_path) == 0
    assert len(server.requests) == len(contents(data_sources.CLONE))


@pytest.mark.parametrize("failures, code", [(2, 0), (3, 2)])
def test_truncated_body_is_noticed_and_tried_three_times(server, tmp_path, failures, code, capsys):
    """The body is JSON that parses, so Content-Length alone gives it away."""

    def truncate(handler, nth):
        if nth > failures:
            return False
        handler.answer(b"{}", length=100)
        return True

    server.fail = truncate
    assert main("--url", server.url, "--output", tmp_path) == code
    assert server.requests[:3] == [data_sources.CLONE.pairs] * 3
    if code:
        error = capsys.readouterr().err
        assert "IncompleteRead" in error and "tries: 3" in error
        assert files_under(tmp_path) == []


def test_missing_page_is_not_tried_again(server, tmp_path, capsys):
    del server.files[data_sources.CLONE.labels]
    assert main("--url", server.url, "--output", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{server.url}/{data_sources.CLONE.labels}: HTTP Error 404" in error
    assert server.requests.count(data_sources.CLONE.labels) == 1


def test_page_that_is_not_data_is_refused_and_not_cached(server, tmp_path, capsys):
    server.files[data_sources.CLONE.pairs] = b"<html>Log in to the network</html>"
    assert main("--url", server.url, "--output", tmp_path) == 2
    assert "<html>Log in" in capsys.readouterr().err
    assert files_under(tmp_path) == []


def test_unreachable_source_says_which_why_and_what_to_do(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(data_sources, "BACKOFF_S", 0.0)
    monkeypatch.setenv("no_proxy", "*")
    with socket.socket() as closed:  # bound, never listening: connections are refused
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        assert main("--url", url, "--output", tmp_path) == 2
    error = capsys.readouterr().err
    assert f"{url}/{data_sources.CLONE.pairs}" in error and "refused" in error
    for advice in ("again later", "--url MIRROR", "--from CLONE", data_sources.REPOSITORY):
        assert advice in error
    assert "Traceback" not in error and error.count("\n") == 1


def test_address_of_another_kind_is_refused(tmp_path, capsys):
    assert main("--url", "ftp://example.org", "--output", tmp_path) == 2
    assert "ftp://example.org" in capsys.readouterr().err


# --- The real thing ------------------------------------------------------------------------------


def test_script_as_a_user_runs_it_exits_2_without_traceback(tmp_path):
    command = [sys.executable, SCRIPT, "--from", tmp_path / "nowhere", "--output", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("get_data: --from") and "Traceback" not in done.stderr


@pytest.mark.skipif(
    not (SHARED_DATA / "pararel" / "query_pairs.json").is_file(),
    reason=f"no copy of the source data beside the project (looked in {SHARED_DATA})",
)
def test_full_data_set_has_the_published_counts(tmp_path):
    """About two seconds and 90 MB. Counts here are taken from the written files, anew."""
    assert main("--from", SHARED_DATA, "--output", tmp_path, expected=get_data.FULL) == 0
    bags = json.loads((tmp_path / "PARAREL/data_all_allbags.json").read_bytes())
    pairs = json.loads((tmp_path / "PARAREL/query_pairs.json").read_bytes())
    assert list(bags) == list(pairs) and len(bags) == 34
    assert sum(map(len, bags.values())) == 27_738
    prompts = [prompt for facts in bags.values() for fact in facts for prompt in fact]
    assert len(prompts) == 253_448
    assert all(text.count("[MASK]") == 1 for text, _, _ in prompts)
    th = h = 0
    for relation, facts in bags.items():
        file = tmp_path / f"BINGREL/final_distant_allbags_{relation}_new.json"
        sentences = json.loads(file.read_bytes())
        assert len(sentences) == len(facts)
        th += sum(len(bag["th_bags"]) for bag in sentences)
        h += sum(len(bag["h_bags"]) for bag in sentences)
    assert (th, h) == (210_217, 266_020)
