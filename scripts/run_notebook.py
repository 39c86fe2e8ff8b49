#!/usr/bin/env python
"""Execute notebook.ipynb and keep its outputs in it.

    python scripts/run_notebook.py     # half a minute on 2 cores; needs the extra `notebook`

Times, ids and versions are not kept, so that what changes in the file is what changed in the
notebook.  tests/integration/test_notebook.py executes it the same way and compares.
"""

from __future__ import annotations

import os

import nbformat
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

from knowledge_neurons import ROOT
from knowledge_neurons.results.atomic import write_atomic

NOTEBOOK = ROOT / "notebook.ipynb"
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# tqdm's advice to install ipywidgets, which would name a path of this machine in the outputs.
QUIET = {"PYTHONWARNINGS": "ignore:IProgress not found"}
LONGEST = 600  # seconds of a cell before it counts as stuck, on a busy machine too


class OwnKernel(AsyncKernelManager):
    """This interpreter's ipykernel, whatever other "python3" is installed for this user."""

    def _kernel_spec_manager_default(self) -> KernelSpecManager:
        return KernelSpecManager(kernel_dirs=[])


def executed(notebook: NotebookNode) -> NotebookNode:
    """The notebook with the outputs of this interpreter, run from the repository's root.

    Raises CellExecutionError with the cell and its traceback.
    """
    where = {"metadata": {"path": str(ROOT)}}
    client = NotebookClient(
        notebook,
        kernel_manager_class=OwnKernel,
        kernel_name="python3",
        timeout=LONGEST,
        coalesce_streams=True,  # in how many pieces a text is printed is chance
        resources=where,
    )
    client.execute(env=os.environ | QUIET)
    return tidy(notebook)


def tidy(notebook: NotebookNode) -> NotebookNode:
    """Without what differs from one execution to the next; cells are numbered in order."""
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number:02d}"
        cell.metadata = NotebookNode()
    language = NotebookNode(name="python")
    notebook.metadata = NotebookNode(kernelspec=NotebookNode(KERNEL), language_info=language)
    return notebook


def main() -> None:
    """Execute it in place."""
    notebook = executed(nbformat.read(NOTEBOOK, as_version=4))
    write_atomic(NOTEBOOK, f"{nbformat.writes(notebook).rstrip()}\n".encode())
    print(f"wrote {NOTEBOOK}")


if __name__ == "__main__":
    main()
