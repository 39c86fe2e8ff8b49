"""Which files of a results folder each section of the page was made from, for its links to them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import PurePath

from knowledge_neurons.results.layout import Results

# Section -> the folders of its files; "" is the results folder itself.
FOLDERS = {
    "run": ("",),
    "neurons": ("kn",),
    "changes": ("modify_activation", "dose_response"),
    "sentences": ("distant", "trigger_examples_th"),
    "edits": ("edit",),
    "erasures": ("erase",),
    "maps": ("maps",),
    "controls": ("controls",),
    "ways": ("ways",),
    "languages": ("languages",),
}
READ = (".json", ".jsonl")  # patches are results too, but nothing is read from them


def sources_of(results: Results, outputs: Iterable[str]) -> dict[str, list[str]]:
    """Section -> its files that are there, as links from the folder name them.

    outputs: of all stages, relative to the folder.
    """
    there = [PurePath(name) for name in outputs if (results.root / name).exists()]
    return {
        section: [
            path.as_posix()
            for path in there
            if path.suffix in READ and path.parent in map(PurePath, folders)
        ]
        for section, folders in FOLDERS.items()
    }
