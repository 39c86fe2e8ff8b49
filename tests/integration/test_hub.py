"""Checkpoints from the hub: names, revisions, the cache, offline mode, failures.

Run: pytest tests/integration/test_hub.py
"""

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub.constants
import pytest

from knowledge_neurons.networks import hub as hub_files
from knowledge_neurons.networks.checkpoints import fingerprint, from_pretrained, save_pretrained
from knowledge_neurons.networks.hub import HUB_NAMES
from tests.integration.checkpoints import as_old_layout, assert_is_tiny, tokenizer
from tests.integration.hub_server import Hub, closed_port, point_at
from tests.reference.tiny import tiny_bert

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def hub(monkeypatch):
    server = Hub()
    point_at(monkeypatch, server.url)
    yield server
    server.close()


@pytest.fixture
def no_pauses(monkeypatch):
    """Retries without their waiting."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.mark.parametrize("name", HUB_NAMES)
def test_each_published_name(hub, folder, tmp_path, name):
    """Each of the seven names loads from its repository, and asks no other one."""
    (folder / "tokenizer_config.json").write_text('{"do_lower_case": false}')
    hub.put(name, folder)
    assert_is_tiny(from_pretrained(name, cache_dir=tmp_path / "cache"))
    assert all(f" google-bert/{name}/main/" in request for request in hub.requests)
    files = ["config.json", "vocab.txt", "tokenizer_config.json", "model.safetensors"]
    assert hub.served("GET") == files


def test_any_repository(hub, folder, tmp_path):
    """organisation/name works as well."""
    hub.put("someone/their-bert", folder)
    assert_is_tiny(from_pretrained("someone/their-bert", cache_dir=tmp_path / "cache"))


def test_second_load_is_from_the_cache(hub, folder, tmp_path):
    """The second load downloads nothing; a changed repository is downloaded again."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    assert len(hub.served("GET")) == 4
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    assert len(hub.served("GET")) == 4
    save_pretrained(tiny_bert(1), tokenizer(), folder)
    hub.put("bert-base-cased", folder)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"), seed=1)
    assert hub.served("GET")[4:] == ["model.safetensors"]


def test_offline_mode_uses_the_cache_and_asks_nothing(hub, folder, tmp_path, monkeypatch):
    """HF_HUB_OFFLINE after one load: the same model, not one request."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    assert hub.requests == []


def test_offline_mode_remembers_files_that_do_not_exist(hub, folder, tmp_path, monkeypatch):
    """A repository of the old layout without tokenizer_config.json is just as usable offline."""
    as_old_layout(folder)
    hub.put("bert-base-cased", folder)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


def test_offline_mode_without_a_cache_is_an_error(hub, folder, tmp_path, monkeypatch):
    """The message names the model, the file, and both ways out; nothing is asked."""
    hub.put("bert-base-cased", folder)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError) as error:
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    for words in ("bert-base-cased", "config.json", "HF_HUB_OFFLINE", "give a folder"):
        assert words in str(error.value)
    assert hub.requests == []


def test_offline_mode_with_half_a_cache_is_an_error(hub, folder, tmp_path, monkeypatch):
    """A file that exists on the hub and was not fetched is an error, not skipped in silence."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    (cached,) = (tmp_path / "cache").glob("*/snapshots/*/tokenizer_config.json")
    cached.unlink()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ValueError, match=r"cannot get tokenizer_config\.json"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")


def test_revision_chooses_the_content(hub, folder, tmp_path):
    """Branch, tag or commit: each gives its own weights; the cache keeps them apart."""
    hub.put("bert-base-cased", folder)
    save_pretrained(tiny_bert(1), tokenizer(), folder)
    hub.put("bert-base-cased", folder, revision="v1.0")
    hub.put("bert-base-cased", folder, revision="feature/x")
    for revision, seed in ((None, 0), ("v1.0", 1), ("feature/x", 1), ("main", 0)):
        loaded = from_pretrained("bert-base-cased", revision=revision, cache_dir=tmp_path / "cache")
        assert_is_tiny(loaded, seed)


def test_commit_hash_is_served_from_the_cache_alone(hub, folder, tmp_path):
    """A full commit hash cannot change, so the second load asks nothing."""
    commit = "0123456789" * 4
    hub.put("bert-base-cased", folder, revision=commit)
    where = {"revision": commit, "cache_dir": tmp_path / "cache"}
    hub.commit = commit
    assert_is_tiny(from_pretrained("bert-base-cased", **where))
    hub.requests.clear()
    assert_is_tiny(from_pretrained("bert-base-cased", **where))
    assert hub.requests == []


def test_unknown_revision_is_an_error(hub, folder, tmp_path):
    """The revision and the model are named, on one line."""
    hub.put("bert-base-cased", folder)
    with pytest.raises(ValueError, match=r"bert-base-cased: the hub does not give.*v9"):
        from_pretrained("bert-base-cased", revision="v9", cache_dir=tmp_path / "cache")


def test_unknown_repository_is_an_error(hub, tmp_path):
    """A repository that is not there; one line, for all that the hub's message has several."""
    with pytest.raises(
        ValueError, match=r"someone/tpyo: the hub does not give config\.json"
    ) as error:
        from_pretrained("someone/tpyo", cache_dir=tmp_path / "cache")
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_path_from_another_folder_is_not_asked_of_the_hub(hub, folder, tmp_path, monkeypatch):
    """A relative path that is right from a folder above, or from the repository, is suggested."""
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    name = f"{tmp_path.name}/model"
    with pytest.raises(ValueError, match=rf"{below}/{name}: no such folder .*mean {folder}\?"):
        from_pretrained(name)
    with pytest.raises(ValueError, match=rf"mean {ROOT}/models/demo-bert\?"):
        from_pretrained("models/demo-bert")
    with pytest.raises(ValueError, match=rf"mean {folder}\?"):
        from_pretrained("model")
    assert hub.requests == []


def test_name_whose_first_part_is_a_folder_is_not_asked_of_the_hub(hub, tmp_path, monkeypatch):
    """checkpoints/typo where checkpoints/ is here: what does not exist there is said to."""
    (tmp_path / "checkpoints").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("checkpoints/typo", "models/typo"):  # the latter is the repository's
        with pytest.raises(ValueError, match=rf"{tmp_path}/{name}: no such folder") as error:
            from_pretrained(name)
        assert f"/{name.split('/')[0]} is a folder, so {name} is not looked for" in str(error.value)
    assert hub.requests == []


@pytest.mark.parametrize(
    "name", ["./model", "../a/b", "~/model", "/nowhere/model", "a/b/c", "a b/c"]
)
def test_paths_are_never_asked_of_the_hub(hub, name):
    """What cannot be organisation/name is a path, and named as an absolute one."""
    with pytest.raises(ValueError, match=r"^/.*: no such folder or \.tar\.gz"):
        from_pretrained(name)
    assert hub.requests == []


def test_repository_without_safetensors(hub, folder, tmp_path):
    """Falls back to pytorch_model.bin, and to the other alternatives of each part."""
    as_old_layout(folder)
    hub.put("bert-base-chinese", folder)
    assert_is_tiny(from_pretrained("bert-base-chinese", cache_dir=tmp_path / "cache"))
    assert hub.served("GET") == ["bert_config.json", "vocab.txt", "pytorch_model.bin"]


@pytest.mark.parametrize(
    ("removed", "part"), [("model.safetensors", "weights"), ("vocab.txt", "vocabulary")]
)
def test_repository_without_a_part_is_an_error(hub, folder, tmp_path, removed, part):
    """No weights under any name, no vocabulary under any name."""
    (folder / removed).unlink()
    hub.put("bert-base-cased", folder)
    with pytest.raises(ValueError, match=f"bert-base-cased has no {part}"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")


def test_case_of_a_published_name_without_a_tokenizer_config(hub, folder, tmp_path):
    """The name decides where the repository does not say."""
    (folder / "tokenizer_config.json").unlink()
    for name in HUB_NAMES:
        hub.put(name, folder)
        loaded = from_pretrained(name, cache_dir=tmp_path / "cache")
        assert loaded.tokenizer.lowercase is ("uncased" in name)


def test_unreachable_hub_is_an_error(tmp_path, monkeypatch, no_pauses):
    """No server: the message names the model and says what to do."""
    point_at(monkeypatch, closed_port())
    with pytest.raises(ValueError) as error:
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    for words in ("bert-base-cased", "config.json", "Check the connection", "give a folder"):
        assert words in str(error.value)


def test_unreachable_hub_with_a_cache(hub, folder, tmp_path, monkeypatch, no_pauses):
    """What was loaded once loads again without the server, absent files included."""
    as_old_layout(folder)
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    point_at(monkeypatch, closed_port())
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


@pytest.mark.parametrize("status, asked", [(500, 1), (503, 1), (499, 2), (403, 2)])
def test_hub_that_fails_is_not_asked_for_files(hub, tmp_path, no_pauses, status, asked):
    """From 500 on it is down, and the cache is all there is; a refusal is an answer."""
    hub.status = status
    with pytest.raises(ValueError, match=r"bert-base-cased: cannot get config\.json") as error:
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    assert len(hub.requests) == asked
    assert (f"'{status} " in str(error.value)) == (asked == 1)


@pytest.fixture
def silent_hub(monkeypatch):
    """A server that takes connections and never answers."""
    server = socket.create_server(("127.0.0.1", 0), backlog=50)
    point_at(monkeypatch, f"http://127.0.0.1:{server.getsockname()[1]}")
    yield server
    server.close()


def within_5_s(revision: str | None, cache: Path) -> str:
    started = time.perf_counter()
    with pytest.raises(ValueError, match=r"bert-base-cased: cannot get config\.json") as error:
        from_pretrained("bert-base-cased", revision=revision, cache_dir=cache)
    assert time.perf_counter() - started < 5
    return str(error.value)


@pytest.mark.parametrize("revision", [None, "0123456789" * 4])
def test_hub_that_never_answers_is_given_up_within_5_seconds(silent_hub, tmp_path, revision):
    """The message says that it did not answer, and how to wait longer."""
    message = within_5_s(revision, tmp_path / "cache")
    assert "HF_HUB_ETAG_TIMEOUT" in message or "timed out" in message
    assert "give a folder" in message


def test_hub_that_refuses_connections_is_given_up_within_5_seconds(tmp_path, monkeypatch):
    """No retries where nobody listens."""
    point_at(monkeypatch, closed_port())
    assert "refused" in within_5_s(None, tmp_path / "cache")


def test_name_that_takes_long_to_look_up_is_given_up_within_5_seconds(tmp_path, monkeypatch):
    """No timeout of the library's covers the resolver, which tries for half a minute."""
    point_at(monkeypatch, closed_port())

    def slow(*arguments, **options):
        time.sleep(20)

    monkeypatch.setattr(socket, "getaddrinfo", slow)
    assert "no answer within 3 s" in within_5_s(None, tmp_path / "cache")


def test_hub_that_never_answers_with_a_cache(hub, folder, tmp_path, monkeypatch, request):
    """What was loaded once loads again, after one wait and not one for every file."""
    hub.put("bert-base-cased", folder)
    from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    request.getfixturevalue("silent_hub")
    monkeypatch.setattr(hub_files, "PATIENCE_S", 0.5)
    started = time.perf_counter()
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))
    assert time.perf_counter() - started < 2


def test_users_own_patience_holds(silent_hub, tmp_path, monkeypatch):
    """HF_HUB_ETAG_TIMEOUT in the environment replaces ours."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_ETAG_TIMEOUT", 1)
    started = time.perf_counter()
    with pytest.raises(ValueError, match="cannot get"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    assert 0.9 < time.perf_counter() - started < 3


def test_broken_download_is_an_error_and_leaves_no_half_file(hub, folder, tmp_path, no_pauses):
    """A connection that drops in the weights is a ValueError; the next load is whole."""
    hub.put("bert-base-cased", folder)
    hub.broken = "model.safetensors"
    with pytest.raises(ValueError, match=r"bert-base-cased: the hub does not give model\.safe"):
        from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache")
    hub.broken = ""
    assert_is_tiny(from_pretrained("bert-base-cased", cache_dir=tmp_path / "cache"))


def test_local_folder_comes_before_the_hub(hub, folder, tmp_path, monkeypatch):
    """A folder of a published name in the current directory is the folder."""
    folder.rename(tmp_path / "bert-base-cased")
    monkeypatch.chdir(tmp_path)
    assert_is_tiny(from_pretrained("bert-base-cased"))
    assert hub.requests == []


def test_environment_variables_hold(hub, folder, tmp_path):
    """HF_ENDPOINT, HF_HOME and HF_HUB_OFFLINE in the environment of a fresh process."""
    hub.put("bert-base-cased", folder)
    command = "from knowledge_neurons.networks.checkpoints import from_pretrained as load\n"
    command += "print(load('bert-base-cased').sha256)"
    variables = {k: v for k, v in os.environ.items() if not k.startswith("HF_")}
    variables |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home")}
    variables |= {"PYTHONPATH": str(ROOT / "src"), "NO_PROXY": "127.0.0.1"}

    def run(**more) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-c", command],
            env=variables | more,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    refused = run(HF_HUB_OFFLINE="1")
    assert "ValueError: bert-base-cased: cannot get config.json" in refused.stderr
    assert hub.requests == []
    assert run().stdout.strip() == fingerprint(tiny_bert())
    assert len(hub.served("GET")) == 4
    assert run(HF_HUB_OFFLINE="1").stdout.strip() == fingerprint(tiny_bert())
    assert len(hub.served("GET")) == 4
