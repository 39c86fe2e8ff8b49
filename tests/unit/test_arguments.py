"""Numbers on the command line are refused before any work where they would fail after it."""

import argparse

import pytest
import torch

from knowledge_neurons.networks.pretrained import chosen_device
from knowledge_neurons.neurons.refine import Thresholds
from knowledge_neurons.stages import arguments, numbers, refining, tables, workers


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (numbers.seed, "-1"),
        (numbers.seed, "1.5"),
        (numbers.seed, str(2**63)),
        (numbers.seed, "9" * 5000),
        (numbers.count, "0"),
        (numbers.count, "1e9"),
        (numbers.count, "1000000001"),
        (numbers.share, "0"),
        (numbers.share, "1.0001"),
        (numbers.share, "nan"),
        (numbers.factor, "inf"),
        (numbers.factor, "-1e7"),
        (numbers.factor, "two"),
        (numbers.tokens, "2"),
        (numbers.tokens, str(2**20 + 1)),
        (numbers.real(0, 1e-2, above=True), "0"),
        (numbers.real(0, 1e-2, above=True), "-0.0"),
    ],
)
def test_refused_in_a_short_message(kind, text):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        kind(text)
    assert "expected a" in str(error.value) and len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (numbers.seed, "0", 0),
        (numbers.seed, str(2**63 - 1), 2**63 - 1),
        (numbers.count, "1", 1),
        (numbers.share, "1", 1.0),
        (numbers.share, "5e-324", 5e-324),
        (numbers.factor, "-1e6", -1e6),
        (numbers.factor, "1e6", 1e6),
        (numbers.tokens, "3", 3),
        (numbers.tokens, str(2**20), 2**20),
        (numbers.count, "1000000000", 10**9),
        (numbers.real(0, 1), "0", 0.0),
    ],
)
def test_bounds_belong_to_the_range(kind, text, value):
    assert kind(text) == value


def test_bounds_are_named():
    for kind, words in (
        (numbers.seed, "a whole number, 0 or more"),
        (numbers.whole(1, 1000), "a whole number, 1 to 1,000"),
        (numbers.share, "a number above 0, at most 1"),
        (numbers.real(0, 1), "a number, 0 to 1"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'x': expected {words}$"):
            kind("x")


def test_parser_says_it_in_one_printable_line(capsys):
    parser = arguments.Parser()
    parser.add_argument("--seed", type=numbers.seed)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--seed", "\x1b[31m\n-1"])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith("error: argument --seed: ") and message.count("\n") == 1
    assert "\x1b" not in message


def test_tables_print_no_control_characters(capsys):
    """Text of files, such as a patch's answers, in titles, names and values."""
    tables.show("wrote \x1b]0;x\x07", {"old\n": "\x1b[2J", "new": 3})
    assert capsys.readouterr().out.splitlines() == [
        "wrote \\x1b]0;x\\x07",
        "  old\\n  \\x1b[2J",
        "  new   3",
    ]


def parsed(monkeypatch, *given: str) -> arguments.ModelSettings:
    """Settings of a stage of the model, without KN_ variables."""
    for name in ("KN_MODEL", "KN_DATA", "KN_RESULTS", "KN_DEVICE"):
        monkeypatch.delenv(name, raising=False)
    parser = arguments.of_neurons("what it does")
    arguments.add_relations(parser)
    return arguments.settings(arguments.ModelSettings, parser.parse_args(given), own="distant")


def test_settings_are_what_the_arguments_come_to(monkeypatch):
    """And `given` what manifests keep: as they were given, in the parser's order."""
    settings = parsed(monkeypatch, "--relations", "P19, P36", "--max_facts", "3", "--gpus", "1")
    assert settings.relations == ["P19", "P36"] and settings.max_facts == 3
    assert settings.device == "cuda:1" and settings.results.root.name == "results"
    assert list(settings.given)[:2] == ["bert_model", "revision"]
    assert settings.given["relations"] == "P19, P36" and settings.given["device"] is None
    assert settings.given["data_path"].endswith("data_all_allbags.json")
    with pytest.raises(AttributeError):
        settings.seed = 3


def test_settings_without_arguments(monkeypatch):
    settings = parsed(monkeypatch, "--max_facts", "0")
    assert settings.max_facts is None and settings.given["max_facts"] == 0
    assert settings.relations == [] and settings.device is None and settings.oov == "error"
    assert (settings.max_seq_length, settings.seed, settings.do_lower_case) == (128, 42, None)
    settings = parsed(monkeypatch)
    assert settings.max_facts is None and settings.given["max_facts"] == -1
    for given, facts in (("1", 1), ("-5", None)):
        assert parsed(monkeypatch, "--debug", given).max_facts == facts


def test_who_works(monkeypatch):
    """This process unless several workers or a cluster are asked for; no part of what is kept."""
    monkeypatch.setattr(workers, "find_spec", lambda _: True)

    def told(*given: str) -> tuple:
        settings = parsed(monkeypatch, *given)
        assert not settings.given.keys() & {"workers", "ray", "threads_per_worker"}
        return settings.workers, settings.ray, settings.threads_per_worker

    assert told() == (None, None, None)
    assert told("--workers", "1", "--threads_per_worker", "3") == (1, None, 3)
    assert told("--workers", "2") == (2, "local", 1)
    assert told("--ray", "host:1", "--threads_per_worker", "4") == (None, "host:1", 4)
    assert told("--workers", "1", "--ray", "local") == (1, "local", 1)
    monkeypatch.setattr(workers, "find_spec", lambda _: None)
    with pytest.raises(ValueError, match=r"not installed: pip install -e '\.\[cluster\]'"):
        told("--workers", "2")


def test_a_device_is_named_in_this_order(monkeypatch):
    assert parsed(monkeypatch, "--device", "cpu", "--gpus", "1").device == "cpu"
    assert parsed(monkeypatch, "--no_cuda", "--gpus", "1").device == "cpu"
    with pytest.raises(ValueError, match="--gpus 0,1: a process uses one GPU"):
        parsed(monkeypatch, "--gpus", "0,1")


@pytest.mark.parametrize(("there", "taken"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_there_is_one(monkeypatch, there, taken):
    """Unless a device is named; one that cannot hold a number is refused by its name."""
    tried = []
    monkeypatch.delenv("KN_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    monkeypatch.setattr(torch, "empty", lambda size, device: tried.append((size, device)))
    assert chosen_device(None) == chosen_device("") == torch.device(taken)
    assert chosen_device("cuda:1") == torch.device("cuda:1")
    assert tried == [(0, torch.device(name)) for name in (taken, taken, "cuda:1")]
    with pytest.raises(ValueError, match="device 'meta' cannot be used here: it holds no numbers"):
        chosen_device("meta")
    with pytest.raises(ValueError, match="device 'gpu' cannot be used here: "):
        chosen_device("gpu")


def test_results_of_the_released_commands(monkeypatch):
    """Beside a --kn_dir the output folder may be the stage's own; else it is the results'."""
    inside = parsed(monkeypatch, "--output_dir", "r/distant", "--kn_dir", "k").results
    assert (str(inside.root), str(inside.kn)) == ("r", "k")
    assert str(parsed(monkeypatch, "--output_dir", "r/distant").results.root) == "r/distant"
    with pytest.raises(ValueError, match="--output_prefix 'a b'"):
        parsed(monkeypatch, "--output_prefix", "a b")
    with pytest.raises(ValueError, match="--relations"):
        parsed(monkeypatch, "--relations", "P19/../x")


@pytest.mark.parametrize(
    ("flag", "inside", "beyond"),
    [
        ("--layer_norm_eps", "0.01", "0.0101"),
        ("--max_facts", str(-(2**63) + 1), str(-(2**63))),
        ("--max_seq_length", "3", "2"),
    ],
)
def test_bounds_of_flags(monkeypatch, capsys, flag, inside, beyond):
    parsed(monkeypatch, flag, inside)
    with pytest.raises(SystemExit):
        parsed(monkeypatch, flag, beyond)
    assert f"argument {flag}" in capsys.readouterr().err


def refining_of(monkeypatch, *given: str) -> refining.Settings:
    """What stage 2 is told."""
    monkeypatch.setattr("sys.argv", ["2_get_kn.py", *given])
    return refining.parse("what it does")


def test_stage_2_is_told_the_papers_thresholds(monkeypatch):
    settings = refining_of(monkeypatch)
    assert settings.thresholds == {False: Thresholds(), True: Thresholds(coarse=0.5)}
    assert (settings.pairs, settings.seed, settings.relations) == (100, 42, [])
    flags = ["--coarse", "0.3", "--base_coarse", "0.6", "--shared", "0.8", "--rounds", "2"]
    flags += ["--min_prompts", "1", "--relation_share", "0.2", "--pairs", "0"]
    common = {"shared": 0.8, "rounds": 2, "min_prompts": 1, "relation_share": 0.2}
    settings = refining_of(monkeypatch, *flags)
    assert settings.thresholds == {
        False: Thresholds(coarse=0.3, **common),
        True: Thresholds(coarse=0.6, **common),
    }
    assert settings.pairs == 0


@pytest.mark.parametrize(
    ("flag", "inside", "beyond"),
    [
        ("--rounds", (1, 100), (0, 101)),
        ("--min_prompts", (0, 10**6), (-1, 10**6 + 1)),
        ("--pairs", (0, 10**4), (-1, 10**4 + 1)),
        ("--coarse", (1,), (0, 1.01)),
    ],
)
def test_bounds_of_stage_2(monkeypatch, flag, inside, beyond):
    for number in inside:
        refining_of(monkeypatch, flag, str(number))
    for number in beyond:
        with pytest.raises(SystemExit):
            refining_of(monkeypatch, flag, str(number))
