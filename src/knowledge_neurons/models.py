"""Where a checkpoint comes from: a name on the hub, a folder (today's layout or the old), a tar.gz.

    pretrained = from_pretrained("bert-base-cased")        # through huggingface_hub, cached
    pretrained = from_pretrained("models/demo-bert")       # a folder
    pretrained = from_pretrained("bert-base-cased.tar.gz")  # an archive of the paper's time
    pretrained.model, pretrained.tokenizer, pretrained.sha256

Weights are read without running code from the file: safetensors, or torch.load(weights_only=True).
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tarfile
import tempfile
import zlib
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError, HTTPError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file
from torch import Tensor

from custom_bert import Bert, BertConfig
from knowledge_neurons.tokenizer import Tokenizer, check_options

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

# What a checkpoint consists of: for each part the file names that may hold it, best first.
CONFIG_FILES = ("config.json", "bert_config.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
VOCABULARY_FILES = ("vocab.txt", "tokenizer.json")
OPTIONAL_FILES = ("tokenizer_config.json",)
PARTS = {"config": CONFIG_FILES, "vocabulary": VOCABULARY_FILES, "weights": WEIGHT_FILES}
ALL_FILES = CONFIG_FILES + WEIGHT_FILES + VOCABULARY_FILES + OPTIONAL_FILES
ARCHIVE_SUFFIXES = (".tar.gz", ".tgz", ".tar")


@dataclass(frozen=True)
class Pretrained:
    """A loaded checkpoint: frozen model in eval mode, its tokenizer, the sha256 of its weights."""

    source: str
    model: Bert
    tokenizer: Tokenizer
    sha256: str


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    lowercase: bool | None = None,
    layer_norm_eps: float | None = None,
) -> Pretrained:
    """Load a checkpoint and its vocabulary.

    source: a name in HUB_NAMES or "organisation/name" on the hub; a folder; a .tar.gz archive.
    revision: branch, tag or commit on the hub.  cache_dir: the hub's cache (default: HF_HOME's).
    lowercase: fold case; None takes what the checkpoint says (see `read_tokenizer`).
    layer_norm_eps: replaces the checkpoint's own, for comparison with the released code (1e-5).
    The hub's own environment variables hold: HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT, HF_TOKEN.

    Raises ValueError for a source that does not exist, cannot be reached, or is no BERT masked LM;
    the message names the file and what to do.
    """
    with tempfile.TemporaryDirectory() as scratch:
        files = _find_files(str(source), revision, cache_dir, Path(scratch))
        for part, names in PARTS.items():
            if not files.keys() & set(names):
                found = ", ".join(files) or "none of the files of a checkpoint"
                raise ValueError(
                    f"{source} has no {part}: looked for {' or '.join(names)}, found {found}"
                )
        config = read_config(files)
        if layer_norm_eps is not None:
            config = replace(config, layer_norm_eps=layer_norm_eps)
        tokenizer = read_tokenizer(files, str(source), lowercase)
        if len(tokenizer) > config.vocab_size:
            raise ValueError(
                f"{source}: the vocabulary has {len(tokenizer)} entries, "
                f"the config says vocab_size {config.vocab_size}"
            )
        state = read_weights(files)
    try:
        model = Bert.from_state(config, state)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from error
    return Pretrained(str(source), model, tokenizer, fingerprint(model))


def save_pretrained(model: Bert, tokenizer: Tokenizer, folder: str | Path) -> None:
    """Write a folder in today's layout that `from_pretrained` and Hugging Face both load."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    config = {"architectures": ["BertForMaskedLM"], "model_type": "bert"}
    config |= {name: getattr(model.config, name) for name in model.config.__dataclass_fields__}
    tokenizer_config = {
        "do_lower_case": tokenizer.lowercase,
        "model_max_length": model.config.max_position_embeddings,
        "tokenizer_class": "BertTokenizer",
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer_config, indent=2) + "\n")
    token_of = {index: token for token, index in tokenizer.vocabulary.items()}
    # The line number is the id, so an id that no token has still takes a line.
    lines = [token_of.get(index, f"[no token {index}]") for index in range(len(tokenizer))]
    (folder / "vocab.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    tensors = {name: t.detach().contiguous() for name, t in model.published_state().items()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})


def fingerprint(model: Bert) -> str:
    """sha256 over names, shapes and float32 values: the same whichever file the weights lay in."""
    digest = hashlib.sha256()
    for name, tensor in sorted(model.published_state().items()):
        digest.update(f"{name}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().float().cpu().contiguous().numpy())
    return digest.hexdigest()


# --- finding the files -----------------------------------------------------------------------


def _find_files(
    source: str, revision: str | None, cache_dir: str | Path | None, scratch: Path
) -> dict[str, Path]:
    """File name -> path of the parts of a checkpoint that the source has."""
    path = Path(source).expanduser()
    if path.is_dir():
        return _folder_files(path)
    if path.name.endswith(ARCHIVE_SUFFIXES):
        if not path.is_file():
            raise ValueError(f"{path}: no such archive")
        return _archive_files(path, scratch)
    if path.is_file():
        raise ValueError(f"{path} is a file: give the folder it lies in, or a .tar.gz archive")
    if source in HUB_NAMES or _looks_like_repo_id(source):
        return _hub_files(source, revision, cache_dir)
    raise ValueError(
        f"{source!r} is no folder, no .tar.gz archive and no known model name.  Known names: "
        f"{', '.join(HUB_NAMES)}; others as organisation/name"
    )


def _looks_like_repo_id(source: str) -> bool:
    parts = source.split("/")
    return len(parts) == 2 and all(parts) and not source.startswith((".", "~", "/"))


def _folder_files(folder: Path) -> dict[str, Path]:
    return {name: folder / name for name in ALL_FILES if (folder / name).is_file()}


def _archive_files(archive: Path, scratch: Path) -> dict[str, Path]:
    """Copy the wanted members out of the archive by their base names.

    Member paths are never used for writing and only regular files are read, so nothing in the
    archive can reach outside the scratch folder.  Archives of the paper's time have no vocabulary:
    it lay beside them as NAME-vocab.txt.
    """
    try:
        with tarfile.open(archive) as tar:
            for member in tar:
                name = Path(member.name).name
                if name not in ALL_FILES or not member.isfile():
                    continue
                if (scratch / name).exists():
                    raise ValueError(f"{archive}: holds {name} more than once")
                with (scratch / name).open("wb") as target:
                    shutil.copyfileobj(tar.extractfile(member), target)
            # gzip's checksum is compared at the end of the stream, which tarfile does not read to.
            while tar.fileobj.read(1 << 20):
                pass
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise ValueError(f"{archive}: not a readable tar archive ({error})") from error
    files = _folder_files(scratch)
    stem = archive.name[: -len(next(s for s in ARCHIVE_SUFFIXES if archive.name.endswith(s)))]
    for beside in (archive.with_name(f"{stem}-vocab.txt"), archive.with_name("vocab.txt")):
        if beside.is_file() and not files.keys() & set(VOCABULARY_FILES):
            files["vocab.txt"] = beside
    return files


def _hub_files(source: str, revision: str | None, cache_dir: str | Path | None) -> dict[str, Path]:
    """Download (or find in the cache) the best file of each part."""
    repo = HUB_NAMES.get(source, source)

    def fetch(name: str) -> Path | None:
        """The path of a file, None where the repository is known not to have it."""
        where = {"revision": revision, "cache_dir": cache_dir}
        try:
            return Path(hf_hub_download(repo, name, **where))
        except LocalEntryNotFoundError as error:
            if try_to_load_from_cache(repo, name, **where) is _CACHED_NO_EXIST:
                return None
            raise ValueError(
                f"{source}: cannot get {name} from the hub, and it is not in the cache ({error}).  "
                "Check the connection or HF_HUB_OFFLINE, or give a folder that holds the model; "
                f"there is no folder {Path(source).absolute()}"
            ) from error
        except EntryNotFoundError:
            return None
        except (HTTPError, OSError) as error:
            raise ValueError(
                f"{source}: the hub does not give {name} ({error}), and there is no folder "
                f"{Path(source).absolute()}"
            ) from error

    files = {}
    for alternatives in (CONFIG_FILES, VOCABULARY_FILES, OPTIONAL_FILES, WEIGHT_FILES):
        for name in alternatives:
            path = fetch(name)
            if path is not None:
                files[name] = path
                break
    return files


def _first(files: dict[str, Path], names: tuple[str, ...]) -> Path:
    """The best of the files that may hold a part; one of them is there."""
    return next(files[name] for name in names if name in files)


# --- reading them ----------------------------------------------------------------------------


def read_config(files: dict[str, Path]) -> BertConfig:
    """The config of a checkpoint, checked; ValueError names the file."""
    path = _first(files, CONFIG_FILES)
    try:
        return BertConfig.from_dict(_read_json(path))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{path}: {error}") from error


def read_weights(files: dict[str, Path]) -> dict[str, Tensor]:
    """The tensors of a checkpoint under their published names."""
    path = _first(files, WEIGHT_FILES)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a corrupt pickle raises anything: IndexError, struct.error, ...
        # Not torch's own message: it advises to read the file unsafely.
        raise ValueError(
            f"{path}: cannot be read safely as weights ({type(error).__name__}): it is damaged, "
            "or holds more than tensors"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected a dictionary of tensors, got {type(state).__name__}")
    others = [str(name) for name, tensor in state.items() if not isinstance(tensor, Tensor)]
    if others:
        raise ValueError(f"{path}: expected a dictionary of tensors, {others[0]} is none")
    return dict(state)


def read_tokenizer(files: dict[str, Path], source: str, lowercase: bool | None) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Whether case is folded: the argument if given, else tokenizer_config.json, else tokenizer.json,
    else "uncased" / "cased" in the name, else whether the vocabulary has no capital letters.
    """
    path = _first(files, VOCABULARY_FILES)
    if "tokenizer_config.json" in files:
        options = _read_json(files["tokenizer_config.json"])
        folds = options.get("do_lower_case", lowercase)
        lowercase = folds if lowercase is None else lowercase
        try:
            chinese = options.get("tokenize_chinese_chars")
            check_options(folds, options.get("strip_accents"), chinese)
        except ValueError as error:
            raise ValueError(f"{files['tokenizer_config.json']}: {error}") from error
    if path.suffix == ".json":
        return Tokenizer.from_json_file(path, lowercase)
    if lowercase is None and "tokenizer.json" in files:
        lowercase = Tokenizer.from_json_file(files["tokenizer.json"]).lowercase
    if lowercase is None:
        lowercase = _folds_case(source, path.read_text(encoding="utf-8").split("\n"))
    return Tokenizer.from_vocab_file(path, lowercase)


def _folds_case(source: str, vocabulary: list[str]) -> bool:
    name = Path(source).name
    if "uncased" in name or "cased" in name:
        return "uncased" in name
    return all(token == token.lower() for token in vocabulary if not token.startswith("["))


def _read_json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path}: expected a JSON object, got {type(content).__name__}")
    return content
