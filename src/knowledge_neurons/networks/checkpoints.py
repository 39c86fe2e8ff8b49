"""Checkpoints read and written: a name on the hub, a folder (today's layout or the old), a tar.gz.

BERT's are read here, for `custom_bert`; all others are handed to `adapted_checkpoints`.

    pretrained = from_pretrained("bert-base-cased")        # through huggingface_hub, cached
    pretrained = from_pretrained("models/demo-bert")       # a folder
    pretrained = from_pretrained("bert-base-cased.tar.gz")  # an archive of the paper's time
    pretrained.model, pretrained.tokenizer, pretrained.sha256

Where the files come from is `sources`' matter.  Weights are read without running code from the
file: safetensors, or torch.load(weights_only=True).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from custom_bert import Bert, BertConfig
from knowledge_neurons.networks import adapted_checkpoints, sources
from knowledge_neurons.networks.bert import BertNetwork
from knowledge_neurons.networks.bert_names import KNOWN_HARMLESS
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.networks.pretrained import Pretrained, fingerprint
from knowledge_neurons.networks.sources import CONFIG_FILES, VOCABULARY_FILES, WEIGHT_FILES, Files
from knowledge_neurons.text import strict_json
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.tokenizer import Tokenizer, check_options

# What weights may be stored as: each is float32 afterwards, or rounded to it.
FLOATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)


def from_pretrained(
    source: str | Path,
    *,
    revision: str | None = None,
    cache_dir: str | Path | None = None,
    lowercase: bool | None = None,
    layer_norm_eps: float | None = None,
    weights: str = "float32",
) -> Pretrained:
    """Load a checkpoint and its vocabulary.

    source: a folder, a .tar.gz archive, a .gguf file, a name in `hub.HUB_NAMES` or
    "organisation/name" on the hub.
    revision: branch, tag or commit on the hub.  cache_dir: the hub's cache (default: HF_HOME's).
    lowercase: fold case; None takes what the checkpoint says (see `read_tokenizer`).
    layer_norm_eps: replaces the checkpoint's own, for comparison with the released code (1e-5).
    Both are for BERT alone, as weights is for the others: see `adapted_checkpoints.load`.
    The hub's own environment variables hold: HF_HUB_OFFLINE, HF_HOME, HF_ENDPOINT, HF_TOKEN.

    Raises ValueError for a source that does not exist, cannot be reached, or is no language model
    of a family in `families`; the message names the file and what to do.
    """
    model_type = adapted_checkpoints.type_of(str(source), revision, cache_dir)
    if model_type not in (None, "bert"):
        if lowercase is not None or layer_norm_eps is not None:
            raise ValueError(f"{source}: whether case is folded, and epsilon, are BERT's options")
        return adapted_checkpoints.load(str(source), model_type, weights, revision, cache_dir)
    if weights != "float32":
        raise ValueError(f"{source}: a BERT's weights are kept as float32, not as {weights}")
    with sources.opened(str(source), revision, cache_dir) as files:
        config = read_config(files)
        if layer_norm_eps is not None:
            config = replace(config, layer_norm_eps=layer_norm_eps)
        tokenizer = read_tokenizer(files, str(source), lowercase)
        if len(tokenizer) > config.vocab_size:
            raise ValueError(
                f"{_first(files, VOCABULARY_FILES)}: the vocabulary has {len(tokenizer)} entries, "
                f"the config says vocab_size {config.vocab_size}"
            )
        model = read_model(files, config)
        check_padding(files, model, tokenizer)
    save = partial(save_pretrained, model, tokenizer)
    return Pretrained(
        str(source), model, tokenizer, fingerprint(model), config.layer_norm_eps, save
    )


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


# --- reading them ----------------------------------------------------------------------------


def _first(files: Files, names: tuple[str, ...]) -> Path:
    """The best of the files that may hold a part; one of them is there."""
    return next(files[name] for name in names if name in files)


def read_config(files: Files) -> BertConfig:
    """The config of a checkpoint, checked; ValueError names the file."""
    path = _first(files, CONFIG_FILES)
    content = strict_json.read_object(path)
    try:
        return BertConfig.from_dict(content)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def read_model(files: Files, config: BertConfig) -> BertNetwork:
    """The model of a checkpoint; ValueError names its file and what is wrong with which tensor."""
    path = _first(files, WEIGHT_FILES)
    state = read_weights(path)
    try:
        _check_stored(state)
        model = BertNetwork.from_state(config, state)
        _check_values(model)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return model


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of weights under the names that it gives them."""
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as file:
                if any(one.compress_type != zipfile.ZIP_STORED for one in file.infolist()):
                    raise ValueError("torch compresses nothing; this may unpack to any size")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a corrupt pickle raises anything: IndexError, struct.error, ...
        # Not torch's own message: it advises to read the file unsafely.
        raise ValueError(
            f"{path}: cannot be read safely as weights ({type(error).__name__}): it is damaged, "
            "or holds more than tensors"
        ) from error
    if not isinstance(state, dict):
        raise ValueError(f"{path}: expected a dictionary of tensors, got {type(state).__name__}")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, Tensor):
            raise ValueError(f"{path}: expected a dictionary of tensors, {short(name)} is none")
    return dict(state)


def _check_stored(state: Mapping[str, Tensor]) -> None:
    """ValueError for a tensor that does not hold plain floating-point numbers."""
    for name, tensor in state.items():
        plain = tensor.layout == torch.strided and tensor.device.type == "cpu"
        if name.startswith(KNOWN_HARMLESS) or (plain and tensor.dtype in FLOATS):
            continue
        kind = str(tensor.dtype if plain else tensor.layout).removeprefix("torch.")
        expected = ", ".join(str(dtype).removeprefix("torch.") for dtype in FLOATS)
        raise ValueError(f"{short(name)} holds {kind}, expected one of {expected}")


def _check_values(model: Network) -> None:
    """ValueError for numbers that are none, and for matrices and scales that are all zero.

    Biases may be zero, and are in models that were never trained.
    """
    for name, tensor in model.published_state().items():
        if not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite: the file is damaged")
        if name.endswith(".weight") and not tensor.any():
            raise ValueError(f"{name} is all zero: the file is damaged, or was never filled")


def check_padding(files: Files, model: Network, tokenizer: Tokenizer) -> None:
    """ValueError unless every row of the word embedding has its token, or is all zero (padding).

    Otherwise tokens are lost, and the ids of all that follow them shifted.
    """
    trained = model.words.any(dim=1)  # (V,)
    trained[list(tokenizer.vocabulary.values())] = False
    without = trained.nonzero().flatten().tolist()
    if without:
        raise ValueError(
            f"{_first(files, VOCABULARY_FILES)}: the vocabulary has {len(tokenizer.vocabulary)} "
            f"tokens, the model {len(trained)}; trained, but without a token: {len(without)}, the "
            f"first of id {without[0]}.  Are lines lost?  If these rows are meant to be unused, "
            "give each a token of its own, such as [unused1]"
        )


def read_tokenizer(files: Files, source: str, lowercase: bool | None) -> Tokenizer:
    """The tokenizer of a checkpoint.

    Whether case is folded: the argument if given, else tokenizer_config.json, else tokenizer.json,
    else "uncased" / "cased" in the name, else whether the vocabulary has no capital letters.
    """
    path = _first(files, VOCABULARY_FILES)
    if "tokenizer_config.json" in files:
        options = strict_json.read_object(files["tokenizer_config.json"])
        folds = options.get("do_lower_case", lowercase)
        try:
            chinese = options.get("tokenize_chinese_chars")
            check_options(folds, options.get("strip_accents"), chinese)
        except ValueError as error:
            raise ValueError(f"{files['tokenizer_config.json']}: {error}") from error
        lowercase = folds if lowercase is None else lowercase
    if path.suffix == ".json":
        return Tokenizer.from_json_file(path, lowercase)
    if lowercase is None and "tokenizer.json" in files:
        lowercase = Tokenizer.from_json_file(files["tokenizer.json"]).lowercase
    cased = Tokenizer.from_vocab_file(path, lowercase=False)
    if lowercase is None:
        lowercase = _folds_case(source, cased.vocabulary)
    return Tokenizer(cased.vocabulary, lowercase) if lowercase else cased


def _folds_case(source: str, vocabulary: Iterable[str]) -> bool:
    name = Path(source).name
    if "uncased" in name or "cased" in name:
        return "uncased" in name
    return all(token == token.lower() for token in vocabulary if not token.startswith("["))
