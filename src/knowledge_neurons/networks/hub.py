"""Files of a checkpoint on the Hugging Face hub, downloaded or found in its cache."""

from __future__ import annotations

import re
import threading
from collections.abc import Sequence
from pathlib import Path

from huggingface_hub import (
    _CACHED_NO_EXIST,
    constants,
    get_hf_file_metadata,
    hf_hub_download,
    hf_hub_url,
    try_to_load_from_cache,
)
from huggingface_hub.errors import (
    EntryNotFoundError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
)

from knowledge_neurons import ROOT

HUB_NAMES = {
    name: f"google-bert/{name}"
    for name in (
        "bert-base-uncased",
        "bert-large-uncased",
        "bert-base-cased",
        "bert-large-cased",
        "bert-base-multilingual-uncased",
        "bert-base-multilingual-cased",
        "bert-base-chinese",
    )
}
OTHER_NAMES = {  # of other families than BERT
    name: f"FacebookAI/{name}" for name in ("xlm-roberta-base", "xlm-roberta-large")
}
Files = dict[str, Path]  # file name -> where it can be read
PATIENCE_S = 3.0  # for the hub's first answer; HF_HUB_ETAG_TIMEOUT overrules it


def repository(source: str) -> str:
    """Where a name leads on the hub, organisation/name; BERT's and XLM-R's have no organisation."""
    return (HUB_NAMES | OTHER_NAMES).get(source, source)


def check_name(source: str) -> None:
    """ValueError unless the hub is meant: a known name, or organisation/name that is no path.

    It is taken for a path where that folder lies above here or in the repository, or where its
    first part is a folder there or here.
    """
    if repository(source) != source:
        return
    here = Path.cwd()
    missing = f"{Path(source).expanduser().absolute()}: no such folder or .tar.gz"
    for base in (*here.parents, ROOT):
        if not Path(source).is_absolute() and (base / source).exists():
            raise ValueError(f"{missing}.  Did you mean {base / source}?")
    if re.fullmatch(r"[\w-][\w.-]*/[\w-][\w.-]*", source):
        first = source.split("/")[0]
        folders = [base / first for base in (here, ROOT) if (base / first).is_dir()]
        if not folders:
            return
        missing += f" ({folders[0]} is a folder, so {source} is not looked for on the hub)"
    raise ValueError(
        f"{missing}, and no model's name.  Known names: {', '.join([*HUB_NAMES, *OTHER_NAMES])}; "
        "others on the hub as organisation/name"
    )


def fetch(
    source: str,
    revision: str | None,
    cache_dir: str | Path | None,
    parts: Sequence[tuple[str, ...]],
) -> Files:
    """Download (or find in the cache) the best file of each part.

    parts: of each the names that may hold it, best first; the first name of all is asked for to see
    whether the hub answers.
    """
    repo = repository(source)
    where = {"revision": revision, "cache_dir": cache_dir}
    silence = _silence(repo, parts[0][0], where)

    def get(name: str) -> Path | None:
        """The path of a file, None where the repository is known not to have it."""
        try:
            return Path(hf_hub_download(repo, name, local_files_only=bool(silence), **where))
        except LocalEntryNotFoundError as error:
            if try_to_load_from_cache(repo, name, **where) is _CACHED_NO_EXIST:
                return None
            raise ValueError(
                f"{source}: cannot get {name} from the hub, and it is not in the cache "
                f"({silence or _line(error)}).  Check the connection or HF_HUB_OFFLINE, or give a "
                f"folder that holds the model; there is no folder {Path(source).absolute()}"
            ) from error
        except EntryNotFoundError:
            return None
        except (HTTPError, OSError) as error:
            raise ValueError(
                f"{source}: the hub does not give {name} ({_line(error)}), and there is no folder "
                f"{Path(source).absolute()}"
            ) from error

    files = {}
    for alternatives in parts:
        for name in alternatives:
            path = get(name)
            if path is not None:
                files[name] = path
                break
    return files


def _silence(repo: str, name: str, where: dict) -> str:
    """Why the hub cannot be asked, "" where it can or need not be; known within PATIENCE_S.

    huggingface_hub itself tries for minutes before it gives up on a file that is not cached, and
    no timeout of its covers the look-up of a name.
    """
    pinned = re.fullmatch(r"[0-9a-f]{40}", where["revision"] or "")
    cached = try_to_load_from_cache(repo, name, **where) is not None
    if constants.HF_HUB_OFFLINE or (pinned and cached):
        return ""
    chosen = constants.HF_HUB_ETAG_TIMEOUT != constants.DEFAULT_ETAG_TIMEOUT
    patience = constants.HF_HUB_ETAG_TIMEOUT if chosen else PATIENCE_S
    failures: list[str] = []

    def ask() -> None:
        url = hf_hub_url(repo, name, revision=where["revision"])
        try:
            get_hf_file_metadata(url, timeout=patience)
        except HfHubHTTPError as error:  # "not found" is an answer too
            if error.response.status_code >= 500:
                failures.append(_line(error))
        except Exception as error:  # no connection, proxy, certificate, ...
            failures.append(_line(error))

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    if asking.is_alive():
        return f"no answer within {patience:g} s; HF_HUB_ETAG_TIMEOUT=30 waits longer"
    return failures[0] if failures else ""


def _line(error: Exception) -> str:
    """Its message on one line."""
    return f"{' '.join(str(error).split()) or type(error).__name__:.300}"
