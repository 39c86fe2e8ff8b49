"""The report in a real browser: opened from its file, used by click and by keyboard, looked at.

Run: pytest tests/integration/test_report_browser.py      (needs Chromium or Chrome on PATH, or
KN_CHROMIUM; is skipped without)
"""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

import pytest

from knowledge_neurons import report
from knowledge_neurons.results import adopted
from knowledge_neurons.results.adopted import ToldFact, ToldRelation
from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import write_manifest
from tests.reference.made_results import MadeFact, Shape, Writer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.integration.browsers import PALE_TEXTS, chromium, found_chromium

pytestmark = pytest.mark.skipif(
    found_chromium() is None, reason="no Chromium or Chrome on PATH; name one with KN_CHROMIUM"
)

EVIL = '<script>document.title = "run"</script><img src=x onerror="document.title = 1">'
PROMPTS = ("{} was born in the city of [MASK] .", "[MASK] is where {} was born .", "{} , [MASK]")
INJECTION = """{
  document.body.insertAdjacentHTML("beforeend", "<img src=x onerror='window.ran = 1'>");
  document.body.append(Object.assign(document.createElement("script"), { text: "window.ran = 1" }));
}"""
FACTS = 230  # more than are listed at once
LEAST_CONTRAST = 4.5  # of text, WCAG 2.1 AA


@dataclass
class Opened:
    """A page with what it said and asked for while it was open."""

    page: Page
    said: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    @property
    def title(self):
        return self.page.locator("#fact h3")

    def fact_shown(self, text: str) -> None:
        expect(self.title).to_have_text(text)


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """The report of a long and a short relation; the first fact of each is somebody's joke."""
    heads = [EVIL, *(f"Head{number}" for number in range(1, FACTS))]
    born = [MadeFact(head, f"Tail{i % 7}", PROMPTS) for i, head in enumerate(heads)]
    capitals = [MadeFact("France", "Paris", PROMPTS), MadeFact("Norway", EVIL, PROMPTS)]
    relations = {"P19": (f"birth {EVIL}", born), "P36": ("capital", capitals)}
    made = Writer(Results(tmp_path_factory.mktemp("report")), relations, Shape(width=60))
    made.everything()
    made.results.report.write_text(report.render(made.results))
    return made.results.report


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def opened(browser: Browser, path: Path, request):
    """The page in a window of the width and the colours that the test's parameters name."""
    width, colors = getattr(request, "param", (1280, "light"))
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=colors, reduced_motion="reduce"
    )
    one = Opened(context.new_page())
    context.on("request", lambda asked: one.requests.append(asked.url))
    one.page.on("console", lambda message: one.said.append(message.text))
    one.page.on("pageerror", lambda error: one.said.append(str(error)))
    one.page.goto(path.as_uri())
    expect(one.title).not_to_be_empty()
    yield one
    assert one.said == [], "the console stays empty whatever is done"
    assert set(one.requests) == {path.as_uri()}, "nothing is asked of anywhere"
    context.close()


# --- opening ---------------------------------------------------------------------------------


def test_the_file_opens_with_every_part_and_asks_for_nothing(opened, path):
    """One request, the file itself; nothing on the console (the fixture looks again at the end)."""
    assert opened.requests == [path.as_uri()]
    sections = opened.page.locator("main section").evaluate_all("all => all.map(one => one.id)")
    assert sections == [
        *("facts", "run", "neurons", "changes", "sentences", "edits", "erasures", "maps"),
        *("controls", "cost", "differences"),
    ]
    for anchor in opened.page.locator("nav a").all():
        assert opened.page.locator(anchor.get_attribute("href")).count() == 1
    assert opened.page.locator("figure svg, .drawings svg").count() >= 6


def test_script_in_the_data_is_shown_and_not_run(opened):
    """As head, tail and label: in the browser part, in tables, in the trigger sentences."""
    opened.fact_shown(f"{EVIL} → Tail0")
    expect(opened.page.locator("#fact .prompt").nth(1)).to_contain_text(EVIL)
    expect(opened.page.locator("#relation option").nth(1)).to_contain_text(EVIL)
    expect(opened.page.locator(".triggers h4").first).to_contain_text(EVIL)
    opened.page.goto(f"{opened.requests[0]}#P36/1")
    opened.fact_shown(f"Norway → {EVIL}")
    assert opened.page.title() == "Knowledge neurons of tiny"
    assert opened.page.locator("main img, main script").count() == 0


def test_an_injected_script_is_stopped_by_the_policy(browser, path):
    """Even one that came past the escaping."""
    page = browser.new_context().new_page()
    page.goto(path.as_uri())
    page.evaluate(INJECTION)
    page.wait_for_timeout(100)
    assert page.evaluate("window.ran") is None
    page.context.close()


def test_published_neurons_are_shown_without_scores(browser, tmp_path):
    """Where they lie and who shares them; a fact that was not published says so."""
    results = Results(tmp_path)
    facts = [ToldFact(head, "Paris", [f"{head} is [MASK]."]) for head in ("A", "B", "C")]
    adopted.write_facts(results, "P36", ToldRelation("capital", facts))
    neurons = results.fact_neurons("P36", baseline=False)
    write_json(neurons, [[[1, 5]], [[1, 5], [0, 2]], []])
    whose = {"by": "Others", "repository": "-", "commit": "-", "model": "m", "settings": {}}
    told = {"layers": 2, "neurons_per_layer": 9, "facts": 3, "facts_not_published": [2]}
    write_manifest(neurons, {"adopted": whose}, **told)
    results.report.write_text(report.render(results))
    page, said = browser.new_page(), []
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(results.report.as_uri())
    expect(page.locator("#fact h3")).to_have_text("A → Paris")
    expect(page.locator("#fact .mask")).to_have_text("[MASK]")
    expect(page.locator("#fact .strip i")).to_have_count(1)
    expect(page.locator("#fact th[scope=col]")).to_have_text(
        ["Layer, neuron", "Facts that have it"]
    )
    expect(page.locator("#fact")).to_contain_text("1 more of this relation")
    page.locator("#fact th a").click()
    expect(page.locator("#fact h3")).to_have_text("Neuron [1, 5]")
    expect(page.locator("#fact")).to_contain_text("of 2 facts in 1 relation")
    assert page.locator("#fact .heat td.n").all_inner_texts() == ["–"] * 4
    page.locator("#list a", has_text="C").click()
    expect(page.locator("#fact h3")).to_have_text("C → Paris")
    expect(page.locator("#fact")).to_contain_text("not among those whose neurons were published")
    assert page.locator("#fact .strip").count() == 0 and said == []


# --- by click --------------------------------------------------------------------------------


def test_facts_are_chosen_by_click(opened):
    """Relation, fact, prompt, neighbour, back."""
    page = opened.page
    page.locator("#relation").select_option(label="P36 capital (2)")
    expect(page.locator("#count")).to_have_text("2 facts")
    page.locator("#list a", has_text="France").click()
    opened.fact_shown("France → Paris")
    expect(page.locator("#list a[aria-current]")).to_contain_text("France")
    assert page.evaluate("location.hash") == "#P36/0"
    heights = "all => all.map(one => one.style.height)"
    averaged = page.locator("#fact .strip i").evaluate_all(heights)
    page.locator("#fact .prompt").nth(2).click()
    assert page.locator("#fact .strip i").evaluate_all(heights) != averaged
    expect(page.locator("#fact .effects")).to_contain_text("neurons × 0")
    page.locator("#fact summary").first.click()
    other = page.locator("#fact details[open] a").first
    name = other.inner_text()
    other.click()
    opened.fact_shown(name)
    expect(page.locator("#shown")).to_have_text(f"Shown: {name}")  # for those who listen
    expect(page.locator("#list a[aria-current]")).to_be_visible()
    page.go_back()
    opened.fact_shown("France → Paris")


def test_search_finds_heads_and_answers_in_all_relations(opened):
    page = opened.page
    page.locator("#relation").select_option("")
    expect(page.locator("#count")).to_have_text(f"{FACTS + 2} facts, 200 listed")
    page.locator("#more").click()
    expect(page.locator("#list li")).to_have_count(FACTS + 2)
    expect(page.locator("#more")).to_be_hidden()
    page.locator("#search").fill("pARis")
    expect(page.locator("#list li")).to_have_count(1)
    expect(page.locator("#list li")).to_contain_text("P36 capital")
    page.locator("#search").fill("no such fact")
    expect(page.locator("#count")).to_have_text("0 facts")


def test_the_picture_shows_the_scores_and_the_refined_neurons(opened):
    """A strip for each layer, the highest on top; as many thick lines as knowledge neurons."""
    page = opened.page
    expect(page.locator("#fact .layers > span")).to_have_text(["layer 2", "layer 1", "layer 0", ""])
    refined = page.locator("#fact [aria-label='Knowledge neurons'] tbody tr").count()
    assert refined >= 2 and page.locator("#fact .strip i.refined").count() == refined
    told = page.locator("#fact .layers").get_attribute("aria-label")
    assert f"in 3 layers, {refined} of them knowledge neurons" in told


# --- contents, saving, paper -----------------------------------------------------------------

WIDTHS = pytest.mark.parametrize(
    "opened", [(1400, "light"), (768, "light"), (390, "dark")], indirect=True
)


@WIDTHS
def test_the_contents_stay_in_sight_and_mark_the_section(opened):
    """Beside the text or a bar on top of it; the section is not hidden under the bar."""
    page = opened.page
    for section in ("erasures", "neurons"):
        page.locator(f"nav a[href='#{section}']").click()
        current, head = page.locator("nav a[aria-current]"), page.locator(f"#{section} h2")
        expect(current).to_have_attribute("href", f"#{section}")
        expect(current).to_be_in_viewport(ratio=1)
        expect(head).to_be_in_viewport(ratio=1)
        bar, text = page.locator("nav").bounding_box(), head.bounding_box()
        beside = bar["x"] + bar["width"] <= text["x"]
        assert beside or bar["y"] + bar["height"] <= text["y"]
    page.mouse.move(200, 600)  # away from the bar, which then follows by itself
    page.locator("#cost").evaluate("section => section.scrollIntoView()")
    expect(page.locator("nav a[aria-current]")).to_have_attribute("href", "#cost")
    expect(page.locator("nav a[aria-current]")).to_be_in_viewport(ratio=1)
    page.evaluate("scrollTo(0, 0)")
    expect(page.locator("nav a[aria-current]")).to_have_count(0)


def saved(opened, part: str) -> tuple[str, str]:
    """Name and text of what the first button in a part saves."""
    with opened.page.expect_download() as download:
        opened.page.locator(f"{part} button.save").first.click()
    text = Path(download.value.path()).read_text("utf-8-sig")
    return download.value.suggested_filename, text


def rows_of(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text)))


def test_a_table_is_saved_as_csv(opened):
    """What groups rows and what stands small are columns; numbers are numbers; no formulas."""
    name, text = saved(opened, "#edits")
    assert name == "table_6_edits_of_facts.csv"
    head, *rows = rows_of(text)
    assert head == ["Quantity", "Neurons", "Ours", "Ours: detail", "95 % interval", "Paper"]
    cells = opened.page.locator("#edits .beside td.ours")
    assert len(rows) == cells.count()
    assert {row[0] for row in rows} >= {"success %", "perplexity, same relation"}
    assert float(rows[0][2]) == float(cells.first.inner_text().replace("−", "-"))
    assert rows[0][5] == "48.5" and "→" in rows[-1][3]
    _, text = saved(opened, "#erasures")
    assert f"P19 birth {EVIL}: all others %" in {row[0] for row in rows_of(text)}
    _, text = saved(opened, "#differences")
    assert not [cell for row in rows_of(text) for cell in row if re.match(r"[=+\-@].", cell)]


def test_models_beside_each_other_on_a_phone(browser, path, tmp_path):
    """The page does not scroll sideways; table and figure are saved as all others are."""
    facts = [MadeFact("France", "Paris", PROMPTS)]
    other = Writer(Results(tmp_path), {"P36": ("capital", facts)}, Shape(layers=5, model="m/other"))
    for stage in (other.stage_1, other.stage_2):
        stage()
    page = browser.new_page(viewport={"width": 390, "height": 844})
    html = tmp_path / "beside.html"
    html.write_text(report.render(Results(path.parent), beside=[other.results]))
    page.goto(html.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    name, text = saved(Opened(page), "#models")
    head, *rows = rows_of(text)
    assert name == "models_beside_each_other.csv" and head[:3] == ["Quantity", "", "tiny"]
    assert rows[1][:2] == ["What was run", "layers × neurons of a layer"]
    assert rows[1][2:] == ["3 × 60", "", "5 × 40"]
    assert saved(Opened(page), "#models .drawing")[0] == "neurons_by_depth.svg"
    page.close()


def test_a_figure_is_saved_as_svg(opened):
    """On its own: its namespace is named, its ink no longer the page's."""
    name, text = saved(opened, "#neurons .drawing")
    root = ElementTree.fromstring(text)
    assert name == "kneurons_distribution.svg"
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert "color: rgb(38, 38, 38)" in root.get("style") and "button" not in text


def test_paper_shows_every_column_and_no_control(opened):
    """As wide as A4 between its margins: no box scrolls, and nothing that only a screen can use;
    what is drawn with grounds is drawn on paper too."""
    page = opened.page
    page.set_viewport_size({"width": 688, "height": 1000})
    page.emulate_media(media="print")
    cut = page.evaluate(
        "[...document.querySelectorAll('main .scroll')].filter((e) => e.checkVisibility()"
        " && e.scrollWidth > e.clientWidth).map((e) => e.ariaLabel)"
    )
    assert cut == [] and page.evaluate("document.documentElement.scrollWidth") == 688
    for drawn in (".axis .ours", ".key.ours", ".bar i"):
        adjusted = page.locator(drawn).first.evaluate("e => getComputedStyle(e).printColorAdjust")
        assert adjusted == "exact", drawn
    for control in ("nav", "#facts", "button", "summary", "input"):
        assert not any(one.is_visible() for one in page.locator(control).all()), control


# --- by keyboard -----------------------------------------------------------------------------


def test_facts_are_chosen_by_keyboard_alone(opened):
    """Tab into the search, arrows through the list, Enter, arrows through the prompts."""
    page, keys = opened.page, opened.page.keyboard
    page.locator("#relation").focus()
    keys.press("Tab")
    assert page.evaluate("document.activeElement.id") == "search"
    keys.type("Head2")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    assert page.evaluate("document.activeElement.firstChild.data") == "Head20"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineWidth") == "3px"
    keys.press("Enter")
    opened.fact_shown("Head20 → Tail6")
    keys.press("End")
    keys.press("Enter")
    opened.fact_shown("Head229 → Tail5")
    keys.press("Home")
    keys.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "search"
    page.locator("#fact input").first.focus()
    keys.press("ArrowDown")
    assert page.locator("#fact input").nth(1).is_checked()
    expect(page.locator("#fact")).to_contain_text("As a share of the largest score")


def test_the_list_is_one_stop_of_the_tabulator(opened):
    """At the entry that is shown, or the one that arrows came to, else the first."""
    page, keys = opened.page, opened.page.keyboard
    listed = "document.activeElement.closest('#list') ? document.activeElement.textContent : null"
    page.locator("#search").focus()
    keys.press("Tab")
    first = page.evaluate(listed)
    shown = page.locator("#list a[aria-current]")
    assert first == (
        shown if shown.count() else page.locator("#list a").first
    ).inner_text().replace("\n", "")
    keys.press("Tab")
    assert page.evaluate(listed) is None
    keys.press("Shift+Tab")
    keys.press("ArrowDown")
    there = page.evaluate(listed)
    assert there not in (None, first)
    keys.press("Tab")
    keys.press("Shift+Tab")
    assert page.evaluate(listed) == there
    page.locator("#search").fill("Head2")
    assert page.locator("#list a[tabindex='0']").count() == 1
    keys.press("Tab")
    assert page.evaluate(listed).startswith("Head2")


def test_everything_that_can_be_clicked_can_be_reached_by_tab(opened):
    """From the first link on, and past the facts with a link of the contents; what is focused has a
    visible outline."""
    page = opened.page
    reached = set()
    for place in range(80):
        if place == 40:
            page.locator("nav a[href='#run']").press("Enter")
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "(() => { const e = document.activeElement; return [e.tagName, e.id,"
                " parseFloat(getComputedStyle(e).outlineWidth) >= 1].join(' ') })()"
            )
        )
    for expected in ("SELECT relation", "INPUT search", "A ", "SUMMARY ", "BUTTON "):
        assert f"{expected} true" in reached
    assert not any(one.endswith("false") for one in reached if not one.startswith("BODY"))


def test_a_facts_address_opens_it(opened):
    opened.page.goto(f"{opened.requests[0]}#P36/0")
    opened.page.reload()
    opened.fact_shown("France → Paris")
    expect(opened.page.locator("#relation")).to_have_value("1")
    opened.page.goto(f"{opened.requests[0]}#P36/99")  # no such fact: stays where it is
    opened.fact_shown("France → Paris")


# --- how it looks ----------------------------------------------------------------------------

NARROW = pytest.mark.parametrize("opened", [(390, "light"), (320, "dark")], indirect=True)
SCHEMES = pytest.mark.parametrize("opened", [(1280, "light"), (1280, "dark")], indirect=True)


@NARROW
def test_a_phone_never_scrolls_sideways(opened):
    """No part reaches beyond the window, but for what scrolls in a box of its own."""
    page = opened.page
    for details in page.locator("summary").all():
        details.click()
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width
    beyond = page.evaluate(
        "(width) => [...document.querySelectorAll('body *')]"
        ".filter((e) => e.getBoundingClientRect().right > width + 1"
        " && !e.parentElement.closest('nav, .scroll, .inner, svg, #list'))"
        ".map((e) => e.outerHTML.slice(0, 80))",
        width,
    )
    assert beyond == []


@SCHEMES
def test_text_stands_out_from_its_ground(opened):
    """The contrast of all visible text, in tables, figures and the browser part."""
    page = opened.page
    found = page.evaluate(PALE_TEXTS, LEAST_CONTRAST)
    assert found["seen"] > 400 and found["pale"] == []


def test_light_and_dark_are_different_pages(browser, path):
    grounds = []
    for colors in ("light", "dark"):
        page = browser.new_context(color_scheme=colors).new_page()
        page.goto(path.as_uri())
        ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
        grounds.append(sum(map(int, re.findall(r"\d+", ground))) / 3)
        page.context.close()
    assert grounds[0] > 230 and grounds[1] < 50
