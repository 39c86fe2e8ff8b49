"""--language fr: a stage reads the prompts of that language, and its results are in languages/fr/.

Prompts are mPARAREL's, as `scripts/get_data.py --mpararel` builds them, or those of a --data_path
(KN_DATA) with {} in place of the language.  KN_LANGUAGE is the default of all stages.
"""

from __future__ import annotations

import argparse
import os
import re
from pathlib import Path

from knowledge_neurons import ROOT

PROMPTS = ROOT / "data/MPARAREL/{}_allbags.json"
PAIRS = ROOT / "data/MPARAREL/{}_query_pairs.json"


def add(parser: argparse.ArgumentParser) -> None:
    """Which language."""
    parser.add_argument(
        "--language",
        type=name,
        default=os.environ.get("KN_LANGUAGE") or None,
        help="fr ...: read its prompts, {} of --data_path, write into languages/fr/ (KN_LANGUAGE)",
    )


def name(text: str) -> str:
    """A language's name, for argparse's `type`: it becomes part of file names."""
    if not re.fullmatch(r"[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*", text):
        raise argparse.ArgumentTypeError(f"{text[:40]!r}: expected a name such as fr or zh-hans")
    return text


def resolve(args: argparse.Namespace, default: Path, pairs: Path, sentences: Path) -> None:
    """Put the language's files in the place of {}, and of defaults, which are of English.

    default, pairs, sentences: what --data_path, --pairs and --sentences are where nothing is given.
    Raises ValueError for a file that would be the same in every language, and for {} without one.
    """
    language, known = getattr(args, "language", None), vars(args)
    ours = {"data_path": (default, PROMPTS), "pairs": (pairs, PAIRS), "tmp_data_path": (None, None)}
    for field, (of_english, of_language) in ours.items():
        path = known.get(field)
        if not isinstance(path, Path):  # --pairs is a number elsewhere
            continue
        if language and path == of_english:
            path = of_language
        setattr(args, field, fill(f"--{field}", path, language))
    if language and known.get("sentences") == str(sentences):
        raise ValueError(
            f"--language {language}: BINGREL's web sentences are English.  Give sentences of your "
            "own in its shape, with --sentences or KN_SENTENCES, {} in place of the relation"
        )


def fill(flag: str, path: Path, language: str | None) -> Path:
    """The path with the language in place of {}; flag: where it comes from, for messages."""
    has_place = "{}" in str(path)
    if language and not has_place:
        raise ValueError(
            f"--language {language}: {flag} is {path}, the same in every language.  Write {{}} in "
            "place of the language, such as data/LANGUAGES/{}_allbags.json"
        )
    if has_place and not language:
        raise ValueError(f"{flag} {path}: name the language that stands for {{}} with --language")
    return Path(str(path).replace("{}", language or ""))
