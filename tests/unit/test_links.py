"""Links of the README and of docs/: what they lead to is there.

Run: pytest tests/unit/test_links.py
"""

import re

import pytest

from knowledge_neurons import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
LINK = re.compile(r"\]\(([^)\s]+)\)")
# In prose a path of the repository stands in backticks.
NAMED = re.compile(r"`((?:src|scripts|tests|docs|benchmarks)/[\w./-]+)`")


def text_of(page) -> str:
    """Without the blocks of code: what looks like a link there is none."""
    return re.sub(r"^```.*?^```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE)


def anchors_of(page) -> set[str]:
    """Of its headings, as GitHub makes them."""
    heads = re.findall(r"^#+ (.+)$", text_of(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_relative_link_leads_somewhere(page):
    """To a file of the repository, and where it names one, to a heading of it."""
    for link in LINK.findall(text_of(page)):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists() and target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors_of(target), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_path_in_prose_is_there(page):
    for name in NAMED.findall(text_of(page)):
        assert (ROOT / name).exists(), name


def test_every_page_is_linked():
    """From the README or a page that it leads to."""
    linked, left = set(), [PAGES[0]]
    while left:
        page = left.pop()
        linked.add(page)
        for link in LINK.findall(text_of(page)):
            target = (page.parent / link.partition("#")[0]).resolve()
            if target in PAGES and target not in linked:
                left.append(target)
    assert linked == set(PAGES)
