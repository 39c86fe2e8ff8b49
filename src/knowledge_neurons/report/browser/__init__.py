"""The report's browser: plain functions in small files, joined into the page's one script.

They share one scope.  `MODULES` is their order: each uses what stands before it, and functions of
any at the time of a call; `start.js` begins.
"""

from importlib.resources import files

MODULES = (
    *("elements", "packed", "addresses", "search", "list", "effects", "map", "fact"),
    *("waking", "around", "neuron", "relations", "start"),
)


def joined(*names: str) -> str:
    """These modules, by default all, as one script; nothing of it is global."""
    folder = files("knowledge_neurons.report.browser")
    texts = (folder.joinpath(f"{name}.js").read_text("utf-8") for name in names or MODULES)
    return '(() => {\n"use strict";\n' + "\n".join(texts) + "})();\n"
