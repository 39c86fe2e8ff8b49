"""The order of the house: which room may import which, and which start without torch.

Run: pytest tests/unit/test_rooms.py
"""

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

SRC = Path(__file__).resolve().parents[2] / "src"
HOUSE = SRC / "knowledge_neurons"

# Room -> the rooms that it may import besides itself; `types` is everybody's.
BELOW = {"types": set(), "text": set(), "neurons": set(), "networks": {"text"}}
BELOW["results"] = {"neurons", "text"}
BELOW["attribution"] = {"networks", "neurons", "text"}
BELOW["editing"] = {"networks", "text", "results"}  # results: how a patch is written
BELOW["experiments"] = {"attribution", "editing", "networks", "neurons", "results", "text"}
BELOW["planning"] = {*BELOW["experiments"], "experiments"}
BELOW["figures"] = {"results", "neurons", "text"}
BELOW["report"] = {"figures", "results", "neurons", "text"}
BELOW["compat"] = {"attribution", "editing", "figures", "networks", "text"}
BELOW["runs"] = set(BELOW) - {"figures", "report", "compat"}
BELOW["library"] = set(BELOW) - {"report", "runs", "compat"}
BELOW["api"] = {"library", "compat"}
BELOW["__main__"] = set()
FACE = {"ROOT", "CHECKOUT", "__version__"}  # of `__init__`
BELOW["__init__"] = BELOW["stages"] = {*BELOW, "api", "runs"}


def imports_of(path: Path) -> set[str]:
    """What a module imports of the library, "results.layout"; `__init__` for the package itself."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
            found.add(node.module)
    parts = (name.split(".") for name in found if name.startswith("knowledge_neurons."))
    return {".".join(some[1:3]) for some in parts}


MODULES = sorted(str(path.relative_to(HOUSE)) for path in HOUSE.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES)
def test_imports_point_downwards(module):
    """Whatever is imported is of the room itself or of one below; figures never of networks."""
    room = module.split("/")[0].removesuffix(".py")
    for name in imports_of(HOUSE / module):
        other = name.split(".")[0]
        assert other in {room, "types", *FACE, *BELOW[room]}, name


def test_only_stages_ask_for_stages():
    """The scripts do, and no room of the library."""
    for module in MODULES:
        if not module.startswith("stages/"):
            assert not any(name.startswith("stages") for name in imports_of(HOUSE / module))


@pytest.mark.parametrize("room", ["results", "figures", "report", "neurons", "text"])
def test_rooms_that_start_without_torch(room):
    """Every module of them, in a process of its own."""
    start_without_torch(
        ".".join(("knowledge_neurons", *Path(module).with_suffix("").parts))
        for module in MODULES
        if module.startswith(f"{room}/") and not module.endswith("__init__.py")
    )


def test_stages_that_read_files_alone_start_without_torch():
    """Stages 2 and 8: torch takes seconds to import, and most of the memory they would have."""
    start_without_torch(path.stem for path in SRC.glob("[28]_*.py"))


def start_without_torch(modules: Iterable[str]) -> None:
    names = list(modules)
    program = (
        f"import sys, importlib; sys.path.insert(0, {str(SRC)!r}); "
        f"[importlib.import_module(name) for name in {names}]; sys.exit('torch' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert names and ended.returncode == 0, f"{names}: {ended.stderr or 'torch is imported'}"
