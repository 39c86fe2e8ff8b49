"""Numbers on the command line are refused before any work where they would fail after it."""

import argparse

import pytest

from knowledge_neurons import cli


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (cli.seed, "-1"),
        (cli.seed, "1.5"),
        (cli.seed, str(2**63)),
        (cli.seed, "9" * 5000),
        (cli.count, "0"),
        (cli.count, "1e9"),
        (cli.count, "1000000001"),
        (cli.share, "0"),
        (cli.share, "1.0001"),
        (cli.share, "nan"),
        (cli.factor, "inf"),
        (cli.factor, "-1e7"),
        (cli.factor, "two"),
        (cli.tokens, "2"),
        (cli.real(0, 1e-2, above=True), "0"),
        (cli.real(0, 1e-2, above=True), "-0.0"),
    ],
)
def test_refused_in_a_short_message(kind, text):
    with pytest.raises(argparse.ArgumentTypeError) as error:
        kind(text)
    assert "expected a" in str(error.value) and len(str(error.value)) < 150


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (cli.seed, "0", 0),
        (cli.seed, str(2**63 - 1), 2**63 - 1),
        (cli.count, "1", 1),
        (cli.share, "1", 1.0),
        (cli.share, "5e-324", 5e-324),
        (cli.factor, "-1e6", -1e6),
        (cli.tokens, "3", 3),
        (cli.real(0, 1), "0", 0.0),
    ],
)
def test_bounds_belong_to_the_range(kind, text, value):
    assert kind(text) == value


def test_bounds_are_named():
    for kind, words in (
        (cli.seed, "a whole number, 0 or more"),
        (cli.whole(1, 1000), "a whole number, 1 to 1,000"),
        (cli.share, "a number above 0, at most 1"),
        (cli.real(0, 1), "a number, 0 to 1"),
    ):
        with pytest.raises(argparse.ArgumentTypeError, match=f"'x': expected {words}$"):
            kind("x")


def test_parser_says_it_in_one_printable_line(capsys):
    parser = cli.Parser()
    parser.add_argument("--seed", type=cli.seed)
    with pytest.raises(SystemExit) as end:
        parser.parse_args(["--seed", "\x1b[31m\n-1"])
    message = capsys.readouterr().err
    assert end.value.code == 2
    assert message.startswith("error: argument --seed: ") and message.count("\n") == 1
    assert "\x1b" not in message


def test_tables_print_no_control_characters(capsys):
    """Text of files, such as a patch's answers, in titles, names and values."""
    cli.show("wrote \x1b]0;x\x07", {"old\n": "\x1b[2J", "new": 3})
    assert capsys.readouterr().out.splitlines() == [
        "wrote \\x1b]0;x\\x07",
        "  old\\n  \\x1b[2J",
        "  new   3",
    ]
