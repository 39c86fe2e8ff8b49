"""What lies beside an output: its manifest, its lock, itself while it grows.

The manifest of NAME is manifests/NAME.manifest.json, out of the way of programs that list a folder
by the names of its files.
"""

from __future__ import annotations

from pathlib import Path

END = ".manifest.json"


def seconds_path(path: Path) -> Path:
    """What each record of a file cost lies beside it: no two runs take the same time."""
    return path.with_name(f"{path.stem}.seconds.jsonl")


def partial_path(path: Path) -> Path:
    """What a file is called while it grows."""
    return path.with_name(f"{path.name}.partial")


def lock_path(path: Path) -> Path:
    """What a run holds while it writes the output; no listing takes it for a result."""
    return path.with_name(f".{path.name}.lock")


def manifest_path(path: Path) -> Path:
    """Where the manifest of an output is."""
    return path.parent / "manifests" / f"{path.name}{END}"


def manifest_beside(path: Path) -> Path:
    """Where the manifest of an output was before it had a folder."""
    return path.with_name(f"{path.name}{END}")


def outputs_with_manifest(folder: Path) -> list[Path]:
    """The outputs in a folder that have a manifest, by name; a manifest's output may be gone."""
    found = [*folder.glob(f"manifests/*{END}"), *folder.glob(f"*{END}")]
    return [folder / name for name in sorted({path.name.removesuffix(END) for path in found})]
