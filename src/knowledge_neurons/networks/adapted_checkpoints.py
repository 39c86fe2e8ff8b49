"""Checkpoints of the families that `transformers` runs: hub name, folder or .gguf file.

`transformers` and what it reads a .gguf with are the extra `models`; they are imported where such a
checkpoint is asked for.  No code of a checkpoint is ever run: weights come from safetensors, GGUF
or torch.load(weights_only=True).
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from knowledge_neurons.networks import families, hub
from knowledge_neurons.networks.adapter import AdaptedNetwork
from knowledge_neurons.networks.pretrained import Pretrained, fingerprint
from knowledge_neurons.text import strict_json
from knowledge_neurons.text.strict_json import short
from knowledge_neurons.text.subwords import SubwordTokenizer

WEIGHTS = ("float32", "bfloat16", "float16")  # what they may be kept as
GGUF = "gguf"


def type_of(source: str, revision: str | None, cache_dir: str | Path | None) -> str | None:
    """The model type that a checkpoint's config.json names, "gguf" for such a file; None for what
    has neither, as the oldest of BERT, and for names and paths that `checkpoints` deals with."""
    path = Path(source).expanduser()
    if path.suffix == f".{GGUF}":
        return GGUF
    if path.is_dir():
        config = path / "config.json"
    elif path.exists() or source in hub.HUB_NAMES or path.name.endswith((".tar", ".gz", ".tgz")):
        return None
    else:
        hub.check_name(source)
        config = hub.fetch(source, revision, cache_dir, [("config.json",)]).get("config.json")
    if config is None or not config.is_file():
        return None
    return strict_json.read_object(config).get("model_type")


def load(
    source: str,
    model_type: str,
    weights: str = "float32",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> Pretrained:
    """Load a checkpoint of a family that has a row in `families`, as the engine takes it.

    Raises ValueError as `load_theirs` does.
    """
    model, tokenizer = load_theirs(source, model_type, weights, revision, cache_dir)
    with _named(source):
        network, words = adapted(model, tokenizer)

    def save(folder: Path) -> None:
        with _quiet(library(source)):
            model.save_pretrained(folder)
            tokenizer.save_pretrained(folder)

    return Pretrained(source, network, words, fingerprint(network), None, save)


def load_theirs(
    source: str,
    model_type: str,
    weights: str = "float32",
    revision: str | None = None,
    cache_dir: str | Path | None = None,
) -> tuple[Any, Any]:
    """Load the model and the tokenizer of `transformers` itself.

    weights: what they are kept as, one of WEIGHTS; scores are float32 in any case.
    Raises ValueError naming the source for a family without a row, a file that is not there or
    broken, and tensors that are missing or hold numbers that are none.
    """
    transformers = library(source)
    where: dict[str, Any] = {"trust_remote_code": False}
    path = Path(source).expanduser()
    if model_type == GGUF:
        if not path.is_file():
            raise ValueError(f"{path.absolute()}: no such file")
        name, where = str(path.parent), where | {"gguf_file": path.name}
    elif path.is_dir():
        name = str(path)
    else:
        name = hub.repository(source)
        where |= {"revision": revision, "cache_dir": cache_dir}
    with _named(source), _quiet(transformers):
        if model_type != GGUF:
            families.of(model_type)
        config = transformers.AutoConfig.from_pretrained(name, **where)
        family = families.of(config.model_type)
        kind = transformers.AutoModelForMaskedLM
        if family.causal:
            kind = transformers.AutoModelForCausalLM
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, **where)
        how = {"config": config, "dtype": getattr(torch, weights), "output_loading_info": True}
        how["ignore_mismatched_sizes"] = True  # they are in the report too, with their names
        model, report = kind.from_pretrained(name, **how, **where)
        _check_report(report)
        if model_type == GGUF:  # plain numbers by now, which the library would not write again
            model.hf_quantizer = None
            del model.config.quantization_config
        _check_values(model)
    return model.eval(), tokenizer


def adapted(model: Any, tokenizer: Any) -> tuple[AdaptedNetwork, SubwordTokenizer]:
    """A model and a tokenizer of `transformers`, loaded by anybody, as the engine takes them.

    Raises ValueError for a model as `AdaptedNetwork` does, and for a tokenizer that is not backed
    by the `tokenizers` library or has more tokens than the model.
    """
    network = AdaptedNetwork(model)
    return network, words_of(tokenizer, network)


def words_of(tokenizer: Any, network: AdaptedNetwork) -> SubwordTokenizer:
    """A tokenizer of `transformers` as the engine takes it; raises ValueError as `adapted` does."""
    backend = getattr(tokenizer, "backend_tokenizer", None)
    if backend is None:
        raise ValueError(
            f"a {type(tokenizer).__name__} has no fast tokenizer behind it: save it as "
            "tokenizer.json, or load it with AutoTokenizer"
        )
    known = backend.get_vocab(with_added_tokens=True)
    special = [token for token in tokenizer.all_special_tokens if token in known]
    mask = None if network.causal else tokenizer.mask_token
    if not network.causal and mask is None:
        raise ValueError("the tokenizer of a masked language model has no mask token")
    words = SubwordTokenizer(backend, mask, special)
    if len(words) > network.shape.vocabulary:
        raise ValueError(
            f"the tokenizer has {len(words)} ids, the model {network.shape.vocabulary}: they do "
            "not belong together"
        )
    return words


def library(wanted_by: str) -> ModuleType:
    """The `transformers` package; ValueError says how to get it."""
    try:
        import transformers
    except ImportError as error:
        raise ValueError(
            f"{wanted_by} is of a family that `transformers` runs, and {error.name} is not "
            "installed: pip install -e '.[models]'"
        ) from error
    return transformers


@contextmanager
def _named(source: str) -> Iterator[None]:
    """Whatever the library raises over a checkpoint as one line that names it."""
    try:
        yield
    except pickle.UnpicklingError as error:  # whose own message advises to read the file unsafely
        raise ValueError(
            f"{source}: the weights cannot be read safely: the file is damaged, or holds more than "
            "tensors"
        ) from error
    except Exception as error:  # a damaged file raises anything: SafetensorError, struct.error, ...
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        said = " ".join(lines) or "the file is damaged"
        if not isinstance(error, (ValueError, OSError, ImportError)):
            said = f"cannot be read ({type(error).__name__}: {said})"
        raise ValueError(f"{source}: {said if len(said) < 600 else short(said)}") from error


@contextmanager
def _quiet(transformers: ModuleType) -> Iterator[None]:
    """Without the library's bars and advice, which are about other things than the user asked."""
    logging = transformers.utils.logging
    before, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with redirect_stderr(StringIO()):  # of a .gguf's tensors it always draws a bar
            yield
    finally:
        logging.set_verbosity(before)
        if bars:
            logging.enable_progress_bar()


def _check_report(report: Mapping[str, Any]) -> None:
    """ValueError for tensors of another shape than the config's, and for missing ones."""
    if wrong := sorted(report["mismatched_keys"]):
        tensor, got, expected = wrong[0]
        raise ValueError(
            f"{len(wrong)} tensors have another shape than the config says, the first is "
            f"{tensor}: {list(got)}, expected {list(expected)}"
        )
    if missing := sorted(report["missing_keys"]):
        raise ValueError(
            f"{len(missing)} tensors are missing, the first is {missing[0]}: the file has no "
            "language model's head, or is damaged"
        )


def _check_values(model: Any) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise ValueError(f"{name} holds numbers that are not finite: the file is damaged")
