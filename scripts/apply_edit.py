#!/usr/bin/env python
"""Apply a saved edit to its model and write the edited model as a folder.

    python scripts/apply_edit.py results/edit/edit-1-8/P36-3-1-8.safetensors \\
        --bert_model models/demo-bert --output edited

PATCH is what stage 6 (--save_patches) and stage 7 write.  DIR is loaded by Hugging Face's
BertForMaskedLM.from_pretrained and by --bert_model of every stage.  A patch of another model is
refused, and so is a DIR that is there already.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import argparse
import os
import tempfile
from pathlib import Path

from knowledge_neurons.editing import patches, slots
from knowledge_neurons.networks import checkpoints
from knowledge_neurons.networks.pretrained import fingerprint
from knowledge_neurons.stages import tables


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("patch", type=Path, metavar="PATCH", help="a .safetensors of stage 6 or 7")
    parser.add_argument(
        "--bert_model",
        "--model",
        default=os.environ.get("KN_MODEL") or "bert-base-cased",
        help="the model that the patch was made from: name on the hub, folder or .tar.gz "
        "(KN_MODEL; default: bert-base-cased)",
    )
    parser.add_argument("--revision", help="branch, tag or commit of the model on the hub")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="a new folder")
    return parser.parse_args()


def main() -> None:
    args = parse_arguments()
    if args.output.exists():
        raise ValueError(f"{args.output} is there already: give the name of a new folder")
    patch = patches.load(args.patch)
    pretrained = checkpoints.from_pretrained(args.bert_model, revision=args.revision)
    try:
        edit = patches.edit_of(patch, pretrained.model)
    except ValueError as error:
        raise ValueError(f"{args.patch} does not fit {args.bert_model}: {error}") from error
    slots.apply(pretrained.model, edit)
    args.output.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=args.output.parent) as scratch:
        made = Path(scratch) / "model"
        pretrained.save(made)
        made.rename(args.output)  # whole or not at all
    header = patch.header
    what = (
        f"relation {header.relation} erased"
        if header.kind == "erase"
        else f"{header.relation} fact {header.fact}: {header.old} -> {header.new}, "
        f"lambdas {header.lambdas[0]:g} and {header.lambdas[1]:g}"
    )
    what = program.printable(what)  # the header may be anybody's
    tables.show(
        f"wrote {args.output}",
        {
            "model": f"{args.bert_model}, sha256 {pretrained.sha256}",
            "edit": f"{what}, {len(edit.neurons)} value slots",
            "edited": f"sha256 {fingerprint(pretrained.model)}",
        },
    )


if __name__ == "__main__":
    program.run(main)
