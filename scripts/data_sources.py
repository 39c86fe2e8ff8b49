"""Where get_data.py reads from: a local folder in either layout, or a web server with a cache.

Both sources have `read(name, check)`: the content of a file and what its check made of it, or a
ValueError that says what is wrong and what to do.
"""

import hashlib
import http.client
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.text.data import MASK
from knowledge_neurons.text.relations import full_name

REPOSITORY = "https://github.com/Hunter-DDM/knowledge-neurons"
TRIES = 3
BACKOFF_S = 2.0  # pause after try n: n times this
TIMEOUT_S = 60.0

ALTERED = (
    "Nothing was written: the source is incomplete or altered. Run again with --force to read all "
    "of it anew, or name another source with --url or --from"
)

Check = Callable[[Any], Any]  # content -> what it says; ValueError when it is not whole


class Layout(NamedTuple):
    """Where a source keeps its files; {} is the relation."""

    pairs: str
    labels: str
    patterns: str
    bingrel: str


CLONE = Layout(
    "data/PARAREL/query_pairs.json",
    "data/LAMA/raw_data/relations.jsonl",
    "data/PARAREL/raw_data/patterns/{}.jsonl",
    "data/BingDistantTREx/final/final_distant_allbags_{}_new.json",
)
FLAT = Layout(
    "pararel/query_pairs.json",
    "pararel/relations.jsonl",
    "pararel/patterns/{}.jsonl",
    "bingrel/final_distant_allbags_{}_new.json",
)


def checked(check: Check, content: Any, name: str) -> Any:
    """Run a check; whatever it stumbles over becomes a message with file name and advice."""
    try:
        return check(content)
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError, KeyError, AttributeError) as error:
        problem = f"got content that starts with {content[:40]!r}, expected JSON of another shape"
        raise ValueError(f"{name}: {problem} ({error!r}). {ALTERED}") from None
    except ValueError as error:
        raise ValueError(f"{name}: {error}. {ALTERED}") from None


def compare(what: str, got: int, expected: int) -> None:
    """Raise the message for a wrong count."""
    if got != expected:
        raise ValueError(f"got {got:,} {what}, expected {expected:,}")


def check_patterns(raw: bytes) -> list[str]:
    """A relation's patterns; each holds [X] and [Y] exactly once."""
    patterns = [msgspec.json.decode(line)["pattern"] for line in raw.splitlines() if line.strip()]
    for pattern in patterns:
        if pattern.count("[X]") != 1 or pattern.count("[Y]") != 1:
            raise ValueError(f"got pattern {pattern!r}, expected one [X] and one [Y]")
    return patterns


def make_bags(
    relation: str, label: str, pairs: Iterable[Sequence[str]], patterns: Iterable[str]
) -> list[list[list[str]]]:
    """The prompts of a relation's facts: each (head, tail), in order, in each of the patterns.

    >>> make_bags("P101", "field of work", [["A", "B"]], ["[X] is [Y]."])
    [[['A is [MASK].', 'B', 'P101(field of work)']]]
    """
    name = full_name(relation, label)
    # [Y] first: a head that happens to contain "[Y]" stays as it is.
    masked = [pattern.replace("[Y]", MASK) for pattern in patterns]
    return [[[m.replace("[X]", head), tail, name] for m in masked] for head, tail in pairs]


def sha256(raw: bytes) -> str:
    """Digest in hexadecimal."""
    return hashlib.sha256(raw).hexdigest()


def read_whole(path: Path, check: Check, force: bool) -> tuple[bytes, Any] | None:
    """Content and checked value of a file that is here already and whole, else None."""
    if force or not path.is_file():
        return None
    raw = path.read_bytes()
    try:
        return raw, checked(check, raw, str(path))
    except ValueError:
        return None


class LocalSource:
    """A folder in either layout."""

    quick = True

    def __init__(self, root: Path, flat: Any = FLAT, clone: Any = CLONE, of: str = REPOSITORY):
        """flat, clone: the two layouts, each with the file that tells it first."""
        first = [str(layout[0]).format(0) for layout in (flat, clone)]
        found = [place for place, name in enumerate(first) if (root / name).is_file()]
        if not found:
            raise ValueError(
                f"--from {root}: found neither {root / first[0]} nor {root / first[1]}. Name "
                f"a clone of {of}, which holds {', '.join(clone)}; or a folder that holds "
                f"{', '.join(flat)} ({{}} stand for relation, language or part)"
            )
        self.root, self.layout, self.first = root, (flat, clone)[found[0]], first[found[0]]

    def read(self, name: str, check: Check) -> tuple[bytes, Any]:
        """Content of a file and what its check made of it."""
        path = self.root / name
        if not path.is_file():
            raise ValueError(
                f"{path}: not found, but {self.root / self.first} is there and belongs to "
                "the same layout. Complete the folder, or name another source (--from, --url)"
            )
        raw = path.read_bytes()
        return raw, checked(check, raw, str(path))


class HttpSource:
    """A web server; what passed its check stays in a cache.

    layout: where it keeps its files.  force: nothing that was in the cache before is taken; a file
    that is read twice is still fetched once.
    """

    quick = False

    def __init__(
        self,
        url: str,
        cache: Path,
        force: bool = False,
        of: str = REPOSITORY,
        layout: Any = CLONE,
    ):
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"--url: got {url!r}, expected an address in http:// or https://")
        self.url, self.cache, self.force = url.rstrip("/"), cache, force
        self.of, self.layout = of, layout
        self.fetched: set[str] = set()  # by this object

    def read(self, name: str, check: Check) -> tuple[bytes, Any]:
        """Content of a file and what its check made of it, from the cache if it is whole there."""
        url = f"{self.url}/{name}"
        # The address is in the name, so that files of two mirrors never mix.
        key = sha256(url.encode())[:8]
        cached = self.cache / f"{key}-{Path(name).name}"
        if kept := read_whole(cached, check, self.force and name not in self.fetched):
            return kept
        raw = self.download(url)
        value = checked(check, raw, url)
        write_atomic(cached, raw)
        self.fetched.add(name)
        return raw, value

    def download(self, url: str) -> bytes:
        """The body at an address; failures that may pass are tried again (404 is not)."""
        for attempt in range(1, TRIES + 1):
            try:
                with urllib.request.urlopen(url, timeout=TIMEOUT_S) as response:
                    return response.read()  # shorter than Content-Length: IncompleteRead
            except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
                reason = str(error) or repr(error)
                code = error.code if isinstance(error, urllib.error.HTTPError) else None
            if attempt == TRIES or (code and code < 500 and code not in (408, 429)):
                break
            time.sleep(BACKOFF_S * attempt)
        raise ValueError(
            f"could not fetch {url}: {reason} (tries: {attempt}). Run the same command again later "
            f"(what has arrived is kept in {self.cache}), or pass --url MIRROR, or clone "
            f"{self.of} elsewhere and pass --from CLONE"
        )
