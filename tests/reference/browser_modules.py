"""Functions of the report's script, called in a browser as they stand in their files.

The page's policy lets nobody reach into its script: here modules are joined to a page of their own.
"""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from knowledge_neurons.report.browser import joined

# An index of two relations in the shape of `embedding`: three layers of 60 neurons.
STRIDE = 1 << 16
INDEX = {
    "stride": STRIDE,
    "layers": 3,
    "width": 60,
    "written": [2],
    "active": [2],
    "relations": [
        {
            "id": "P36",
            "label": "capital",
            "names": ["France", "Norway"],
            "answers": ["Paris", "Oslo"],
            "neurons": [[STRIDE + 7, 2 * STRIDE], [STRIDE + 7]],
        },
        {
            "id": "A/B 1",
            "label": "Oslo's twin",
            "names": ["Paris Hilton"],
            "answers": ["x"],
            "neurons": [[59]],
        },
    ],
}
DATA = "const data = { ...index, ...factsOf(index) };"


def called(page: Page, expression: str, *modules: str) -> Any:
    """What an expression of `packed` and these modules' functions, `index` and `data` comes to."""
    script = joined("packed", *modules).removesuffix("})();\n")
    ask = f"window.found = {expression}; }})(); return window.found;"
    return page.evaluate(f"(index) => {{ {script} {DATA} {ask} }}", INDEX)
