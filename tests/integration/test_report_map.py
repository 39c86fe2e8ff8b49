"""The neuron map of the report in a real browser: by pointer, by keyboard, by touch, as a table.

Run: pytest tests/integration/test_report_map.py      (needs Chromium, as test_report_browser)
"""

from pathlib import Path

import pytest

from knowledge_neurons import report
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.maps import MapRecord, Node, read_maps
from tests.reference.made_results import MadeFact, Shape, Writer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Locator, Page, expect

from tests.integration.browsers import PALE_TEXTS, chromium, found_chromium

pytestmark = pytest.mark.skipif(
    found_chromium() is None, reason="no Chromium or Chrome on PATH; name one with KN_CHROMIUM"
)

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .")
FOCUSED = "document.activeElement.getAttribute('aria-label')"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, list[MapRecord]]:
    """A report of a relation with maps and one without, and the maps."""
    facts = [MadeFact(head, f"<b>{head}", PROMPTS) for head in ("Ann", "Bob", "Eve")]
    relations = {"P19": ("birth", facts), "P36": ("capital", facts[:1])}
    results = Results(tmp_path_factory.mktemp("report"))
    Writer(results, relations, Shape(layers=5, width=60)).everything()
    for gone in (results.maps("P36"), results.map_summary("P36")):
        gone.unlink()
    results.report.write_text(report.render(results))
    return results.report, list(read_maps(results.maps("P19")))


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, made, request):
    """The report at its first fact.  Parameters: width, colours, whether there is touch."""
    width, colors, touch = getattr(request, "param", (1280, "light", False))
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=colors, has_touch=touch
    )
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(made[0].as_uri() + "#P19/0")
    expect(page.locator("#fact .map svg")).to_be_visible()
    yield page
    assert said == []
    context.close()


def driven(record: MapRecord) -> Node:
    return next(node for node in record.nodes if node.edges)


def mark(page: Page, neuron, own: bool = True) -> Locator:
    name = f"{'knowledge neuron' if own else 'driver'} [{neuron[0]}, {neuron[1]}]"
    return page.locator(f'#fact .map [aria-label^="{name}"]')


def signed(share: float) -> str:
    return f"{'−' if share < 0 else '+'}{abs(100 * share):.1f} %"


def told_rows(page: Page, title: str) -> list[list[str]]:
    rows = page.locator(f'#fact .map [aria-label="{title}"] tbody tr').all()
    return [row.locator("th, td").all_inner_texts() for row in rows]


def test_the_table_of_all_edges_is_one_stop_of_the_tab_key(page):
    """Arrow keys move through its links; Tab goes on behind it, and back to the one left."""
    page.locator("#fact .map summary").click()
    table, keys = page.locator('#fact .map details [aria-label="All edges"]'), page.keyboard
    links = table.locator("a")
    expect(links.nth(10)).to_be_visible()
    table.focus()
    keys.press("Tab")
    expect(links.nth(0)).to_be_focused()
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    expect(links.nth(2)).to_be_focused()
    keys.press("Tab")
    expect(page.get_by_role("button", name="CSV: All edges")).to_be_focused()
    keys.press("Shift+Tab")
    expect(links.nth(2)).to_be_focused()
    keys.press("End")
    expect(links.last).to_be_focused()
    expect(table.locator("a[tabindex='0']")).to_have_count(1)


def test_nodes_and_edges_are_those_of_the_record(page, made):
    """A mark for each neuron and each driver, squares in layer 0; a line an edge, dashed where it
    takes away; the answer, as text, with a line from each neuron."""
    record = made[1][0]
    own = {node.neuron for node in record.nodes}
    every = own | {tuple(edge[:2]) for node in record.nodes for edge in node.edges}
    marks = page.locator("#fact .map [role=button]")
    expect(marks).to_have_count(1 + len(every))
    expect(page.locator("#fact .map .own")).to_have_count(len(own))
    expect(page.locator("#fact .map rect")).to_have_count(sum(one[0] == 0 for one in every))
    edges = [(node, edge) for node in record.nodes for edge in node.edges]
    less = sum(edge[2] / node.activation < 0 for node, edge in edges)
    expect(page.locator("#fact .map .edge")).to_have_count(len(edges) + len(own))
    expect(page.locator("#fact .map .less")).to_have_count(less)
    expect(page.locator("#fact .map .answer text")).to_have_text("<b>Ann")


def test_a_neuron_says_its_edges_in_numbers(page, made):
    """Pointed at: what each driver adds and what changed with it off, as shares of the activation;
    other edges fade.  A driver says what it drives."""
    record = made[1][0]
    node = driven(record)
    mark(page, node.neuron).hover()
    to = f"[{node.neuron.layer}, {node.neuron.index}]"
    expected = [
        [f"[{layer}, {index}]", to]
        + [signed(one / node.activation) for one in (score, off.predicted, off.measured)]
        for (layer, index, score), off in zip(node.edges, record.of_edges(node), strict=True)
    ]
    found = told_rows(page, "What drives it")
    assert [row[:2] for row in found] == [row[:2] for row in expected]
    for row, other in zip(found, expected, strict=True):
        for text, told in zip(row[2:], other[2:], strict=True):
            shown, exact = (float(one[1:-2]) for one in (text, told))
            assert text[0] == told[0] and shown == pytest.approx(exact, abs=0.5)
    expect(page.locator("#fact .told")).to_contain_text("hold 40.0 % of all absolute scores below")
    expect(page.locator("#fact .told")).to_contain_text("off at once")
    dim = page.locator("#fact .map .edge.dim").count()
    assert 0 < dim < page.locator("#fact .map .edge").count()
    own = {one.neuron for one in record.nodes}
    driver = next(tuple(edge[:2]) for edge in node.edges if tuple(edge[:2]) not in own)
    mark(page, driver, own=False).click()
    assert [f"[{driver[0]}, {driver[1]}]", expected[0][1]] in [
        row[:2] for row in told_rows(page, "What it drives")
    ]


def test_every_neuron_is_reached_by_arrow_keys(page, made):
    """Tab enters at the answer and leaves behind it; arrows reach every mark, and none else is a
    stop of its own."""
    keys, labels = page.keyboard, set()
    assert page.locator("#fact .map [role=button][tabindex='0']").count() == 1
    page.locator("#fact .map .answer").focus()
    names = page.locator("#fact .map [role=button]").evaluate_all(
        "all => all.map((one) => one.getAttribute('aria-label'))"
    )
    for _ in range(6):  # the answer's row and five layers
        keys.press("Home")
        for _ in range(len(names)):
            labels.add(page.evaluate(FOCUSED))
            keys.press("ArrowRight")
        keys.press("ArrowDown")
    assert labels == set(names)
    for _ in range(6):
        keys.press("ArrowUp")
    assert page.evaluate(FOCUSED) == "the answer, <b>Ann"
    assert told_rows(page, "Drivers of the answer")
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    keys.press("Tab")
    assert page.evaluate("document.activeElement.closest('svg')") is None


TOUCH = pytest.mark.parametrize("page", [(390, "light", True), (320, "dark", True)], indirect=True)


@TOUCH
def test_a_phone_touches_it(page, made):
    """A tap chooses; the picture scrolls in a box of its own, the page never sideways."""
    node = driven(made[1][0])
    mark(page, node.neuron).tap()
    expect(mark(page, node.neuron)).to_have_attribute("aria-pressed", "true")
    assert len(told_rows(page, "What drives it")) == len(node.edges)
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_all_edges_stand_in_a_table(page, made):
    """Filled when it is opened: what the picture says, for those who do not see it."""
    record = made[1][0]
    page.locator("#fact .map summary").click()
    page.locator('#fact .map [aria-label="All edges"]').wait_for()  # it is told after the click
    rows = told_rows(page, "All edges")
    assert len(rows) == len(record.nodes) + sum(len(node.edges) for node in record.nodes)
    assert [row[1] for row in rows].count("P(answer)") == len(record.nodes)


def test_facts_without_a_map_show_none_and_relations_stand_in_the_section(page, made):
    page.goto(made[0].as_uri() + "#P36/0")
    expect(page.locator("#relation")).to_have_value("1")
    expect(page.locator("#fact .map")).to_have_count(0)
    expect(page.locator("#maps tbody th")).to_have_text(["P19 birth"])
    expect(page.locator("#maps svg")).to_have_count(1)


@pytest.mark.parametrize("page", [(1280, "light", False), (1280, "dark", False)], indirect=True)
def test_its_text_stands_out_from_its_ground(page, made):
    mark(page, driven(made[1][0]).neuron).hover()
    assert page.evaluate(PALE_TEXTS, 4.5)["pale"] == []
