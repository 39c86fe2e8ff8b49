"""`kn find` and `kn neuron`: the library's face, asked from the command line."""

from __future__ import annotations

import argparse
import json

from knowledge_neurons.api import KnowledgeNeurons
from knowledge_neurons.stages import program
from knowledge_neurons.stages.workers import device_of


def find(args: argparse.Namespace) -> None:
    """Print the neurons of the prompts given."""
    chosen = {"coarse": args.coarse, "shared": args.shared, "layers": args.layers}
    found = _opened(args).find(args.prompts, args.answer, **chosen)
    if args.json:
        told = {"model": args.bert_model, "prompts": args.prompts, "answer": args.answer}
        text = json.dumps(told | {"neurons": found}, separators=(",", ":"))
        print(text.replace("\x7f", "\\u007f"))  # the one control character that it leaves
    else:
        _show(str(found))


def neuron(args: argparse.Namespace) -> None:
    """Print what a neuron's value slot writes."""
    _show(str(_opened(args).what_writes((args.layer, args.index))))


def _opened(args: argparse.Namespace) -> KnowledgeNeurons:
    """The model that the arguments name, on the device that they name."""
    return KnowledgeNeurons.from_pretrained(
        args.bert_model,
        device=device_of(args),
        revision=args.revision,
        lowercase=args.do_lower_case,
        layer_norm_eps=args.layer_norm_eps,
        weights=args.weights,
    )


def _show(text: str) -> None:
    """What a model's vocabulary holds does not reach the terminal raw."""
    print("\n".join(map(program.printable, text.splitlines())))
