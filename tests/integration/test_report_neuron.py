"""Pages of neurons and relations in a real browser; addresses, search, what stands beside a fact.

Run: pytest tests/integration/test_report_neuron.py      (needs Chromium, as test_report_browser)
"""

from statistics import fmean

import pytest

from knowledge_neurons import report
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neuron_activity import read_activity
from knowledge_neurons.results.neuron_words import read_neuron_words
from knowledge_neurons.results.neurons_alone import read_alone
from tests.reference.made_results import MadeFact, Shape, Writer

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from playwright.sync_api import Browser, Page, expect

from tests.integration.browsers import PALE_TEXTS, chromium, found_chromium

pytestmark = pytest.mark.skipif(
    found_chromium() is None, reason="no Chromium or Chrome on PATH; name one with KN_CHROMIUM"
)

PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .", "{} , dweller of [MASK]")
EVIL = "<b onclick=1>Eve"


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Writer:
    """A report of nine relations, of which few neurons serve many facts."""
    heads = ("Ann", "Bob", EVIL, *(f"Head{i}" for i in range(40)))
    facts = [MadeFact(head, f"Tail{i % 5}", PROMPTS) for i, head in enumerate(heads)]
    relations = {f"P{n}": (f"relation {n}", facts if n < 3 else facts[:4]) for n in range(1, 10)}
    results = Results(tmp_path_factory.mktemp("report"))
    writer = Writer(results, relations, Shape(layers=3, width=30))
    writer.everything()
    results.report.write_text(report.render(results))
    return writer


@pytest.fixture(scope="module")
def browser():
    with chromium() as started:
        yield started


@pytest.fixture
def page(browser: Browser, made, request):
    """The report.  Parameters: width, colours."""
    width, colors = getattr(request, "param", (1280, "light"))
    context = browser.new_context(
        viewport={"width": width, "height": 844}, color_scheme=colors, reduced_motion="reduce"
    )
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    at(page, made, "")
    yield page
    assert said == []
    context.close()


def at(page: Page, made: Writer, address: str) -> None:
    page.goto(made.results.report.as_uri() + address)
    expect(page.locator("#fact h3")).not_to_be_empty()


def titled(page: Page, title: str) -> None:
    expect(page.locator("#fact h3")).to_have_text(title)


def rows(page: Page, label: str) -> list[list[str]]:
    found = page.locator(f'#fact [aria-label="{label}"] tbody tr').all()
    return [row.locator("th, td").all_inner_texts() for row in found]


def busiest(made: Writer) -> tuple[tuple[int, int], dict[str, list[int]]]:
    """The neuron that most facts have, and relation -> those that have it."""
    owners: dict[tuple[int, int], dict[str, list[int]]] = {}
    for name, facts in made.neurons.items():
        for fact, own in enumerate(facts):
            for neuron in own:
                owners.setdefault(tuple(neuron), {}).setdefault(name, []).append(fact)
    return max(owners.items(), key=lambda one: sum(map(len, one[1].values())))


# --- a neuron --------------------------------------------------------------------------------


def test_a_neurons_page_holds_what_the_files_say(page, made):
    """Its facts with a square a prompt, its words, the neurons of the same facts."""
    (layer, index), owners = busiest(made)
    count = sum(map(len, owners.values()))
    at(page, made, f"#neuron={layer}/{index}")
    titled(page, f"Neuron [{layer}, {index}]")
    told = page.locator("#fact")
    expect(told).to_contain_text(f"of {count} facts in {len(owners)} relations")
    if len(owners) > 6:
        page.get_by_role("button", name=f"Read all {len(owners)}").click()
        expect(page.get_by_role("button", name="Read all")).to_have_count(0)
    if count > 30:
        page.get_by_role("button", name=f"Show more of {count} facts").click()
    served = rows(page, "Facts it serves, by prompt")
    assert len(served) == min(count, 60)
    means = [float(row[2]) for row in served]
    assert means == sorted(means, reverse=True)
    expect(page.locator("#fact .cells a")).to_have_count(3 * len(served))
    written = next(w for w in read_neuron_words(made.results) if w.neuron == (layer, index))
    words = page.locator("#fact .word").all_inner_texts()
    assert [w.split()[0] for w in words] == [w for w, _ in written.up[:8] + written.down[:8]]
    together = rows(page, "Neurons of the same facts")
    name, shared, _ = together[0]
    other = tuple(map(int, name.strip("[]").split(", ")))
    both = sum(
        other in own and (layer, index) in own for facts in made.neurons.values() for own in facts
    )
    assert shared == f"{both} of {count}"
    expect(told.locator(".dots .mean")).to_have_count(3)


def test_a_neurons_page_says_what_wakes_it_and_what_it_does_alone(page, made):
    """Texts, histogram, neurons that fire like it and its effect, as the files have them."""
    (layer, index), owners = busiest(made)
    at(page, made, f"#neuron={layer}/{index}")
    titled(page, f"Neuron [{layer}, {index}]")
    told = page.locator("#fact")
    found = next(one for one in read_activity(made.results) if one.neuron == (layer, index))
    for name, ends in (("Prompts", found.prompts), ("Sentences", found.sentences)):
        fired = [*ends.most[:4], *ends.least[1::-1]]
        shown = rows(page, f"{name}: the highest 4, then the lowest 2")
        assert [row[0] for row in shown] == [one.text for one in fired]
        assert [row[1] for row in shown] == [signed(one.activation, 2) for one in fired]
    strips = told.locator(".histogram .track")
    expect(strips).to_have_count(5)
    counts = found.counts["relation"]
    bars = strips.nth(1).locator("i")
    assert [bar.get_attribute("title").split(": ")[1] for bar in bars.all()] == [
        f"{count} of {sum(counts)}" for count in counts
    ]
    like = told.locator("h4", has_text="Neurons that fire like it").locator("..")
    names = [f"[{layer}, {index}]" for layer, index, _ in found.alike[:5]]
    assert like.locator("a").all_inner_texts() == names
    alone = [
        one for name in owners for one in read_alone(made.results.neurons_alone(name))
        if one.neuron == (layer, index)
    ]  # fmt: skip
    prompts = sum(len(one.asked) for one in alone)
    nats = fmean(row[1] - row[0] for one in alone for row in one.log_odds)
    effect = told.locator("h4", has_text="Switched off alone").locator("..")
    expect(effect).to_contain_text(f"on {prompts} prompts of its facts")
    expect(effect).to_contain_text(f"In log-odds: {signed(nats, 3)} nats")


def signed(value: float, digits: int) -> str:
    return f"{value:+.{digits}f}".replace("-", "−")


def test_every_neuron_named_leads_to_its_page(page, made):
    """From the table, the baseline's, the map's edges; on to others, and back."""
    at(page, made, "#P1/0")
    for start in ('[aria-label="Knowledge neurons"] th a', ".shared a", ".map .inner th a"):
        titled(page, "Ann → Tail0")
        page.locator("#fact .map summary").click()
        link = page.locator(f"#fact {start}").first
        name = link.inner_text()
        link.click()
        titled(page, f"Neuron {name}")
        assert page.evaluate("location.hash") == f"#neuron={name[1:-1].replace(', ', '/')}"
        page.go_back()


def test_a_square_leads_to_its_prompt_and_the_choice_survives(page, made):
    """The prompt is part of the address: reload, back and forward keep it."""
    (layer, index), _ = busiest(made)
    at(page, made, f"#neuron={layer}/{index}")
    square = page.locator("#fact .cells a").nth(1)
    there = square.get_attribute("href")
    square.click()
    expect(page.locator("#fact input").nth(2)).to_be_checked()  # the first is: all, averaged
    assert there.endswith("/1") and page.evaluate("location.hash") == there
    page.locator("#fact .prompt").nth(3).click()
    assert page.evaluate("location.hash") == f"{there[:-2]}/2"
    page.reload()
    expect(page.locator("#fact input").nth(3)).to_be_checked()
    page.go_back()
    titled(page, f"Neuron [{layer}, {index}]")
    page.go_forward()
    expect(page.locator("#fact input").nth(3)).to_be_checked()


def test_a_neuron_of_no_fact_says_so(page, made):
    every = {tuple(n) for facts in made.neurons.values() for own in facts for n in own}
    index = next(i for i in range(30) if (0, i) not in every)
    at(page, made, f"#neuron=0/{index}")
    titled(page, f"Neuron [0, {index}]")
    expect(page.locator("#fact")).to_contain_text("no knowledge neuron of any fact here")
    expect(page.locator("#fact")).to_contain_text("stage 9 reads it of neurons that facts have")


def test_what_is_missing_names_its_stage(browser, tmp_path):
    """After stages 1 and 2 alone a neuron has its facts, and says what to run for the rest."""
    facts = [MadeFact("Ann", "Rome", PROMPTS)]
    writer = Writer(Results(tmp_path), {"P1": ("r", facts)})
    writer.stage_1()
    writer.stage_2()
    writer.results.report.write_text(report.render(writer.results))
    page = browser.new_page()
    layer, index = writer.neurons["P1"][0][0]
    at(page, writer, f"#neuron={layer}/{index}")
    for stage in ("4_run_distant.sh", "9_neuron_map.sh"):
        expect(page.locator("#fact")).to_contain_text(stage)
    assert len(rows(page, "Facts it serves, by prompt")) == 1
    page.close()


def test_its_tables_are_saved_as_csv(page, made):
    """What the page shows, squares as numbers; a button each, however often it is filled."""
    (layer, index), _ = busiest(made)
    at(page, made, f"#neuron={layer}/{index}")
    titled(page, f"Neuron [{layer}, {index}]")
    tables = page.locator("#fact .inner:has(table)")
    buttons = page.get_by_role("button", name="CSV:")
    inside = page.locator("#fact .save")
    assert inside.count() == tables.count() > 4 and buttons.count() > inside.count()
    with page.expect_download() as saved:
        page.get_by_role("button", name="CSV: Facts it serves, by prompt").click()
    assert saved.value.suggested_filename == f"neuron_{layer}_{index}_facts_it_serves_by_prompt.csv"
    lines = saved.value.path().read_text("utf-8-sig").splitlines()
    assert lines[0] == "Fact,By prompt,Mean score,Coarse in,Relation"
    fact, scores, mean, *_ = lines[1].split(",")
    assert fact == rows(page, "Facts it serves, by prompt")[0][0]
    numbers = [float(one) for one in scores.split()]
    assert len(numbers) == 3 and fmean(numbers) == pytest.approx(float(mean), abs=0.006)
    page.go_back()
    at(page, made, "#P1")
    titled(page, "P1 relation 1")
    assert inside.count() == tables.count() == 2


# --- search, relations, facts ----------------------------------------------------------------


def test_the_search_finds_neurons_relations_and_prompts(page, made):
    page.locator("#relation").select_option("")
    page.locator("#search").fill("L2 N3")
    expect(page.locator("#count")).to_have_text("1 neuron")
    page.locator("#list a").click()
    titled(page, "Neuron [2, 3]")
    expect(page.locator("#list a[aria-current]")).to_have_count(1)
    page.locator("#search").fill("relation 7")
    expect(page.locator("#count")).to_have_text("1 relation")
    page.locator("#list a").click()
    titled(page, "P7 relation 7")
    page.locator("#search").fill("dweller")
    expect(page.locator("#count")).to_have_text("114 prompts")
    page.locator("#list a", has_text=f"{EVIL}, dweller of [MASK]").first.click()
    titled(page, f"{EVIL} → Tail2")
    assert page.evaluate("location.hash") == "#P1/2/2"
    expect(page.locator("#fact input").nth(3)).to_be_checked()
    expect(page.locator("#search")).to_have_value("dweller")
    assert page.locator("#fact b, #list b").count() == 0


def test_two_relations_stand_beside_each_other(page, made):
    """What both have is counted from the files; the choice is an address."""
    at(page, made, "#P1")
    page.locator("#fact select").select_option(label="P2 relation 2")
    titled(page, "P1 relation 1 and P2 relation 2")
    assert page.evaluate("location.hash") == "#compare=P1/P2"
    sets = [{tuple(n) for own in made.neurons[name] for n in own} for name in ("P1", "P2")]
    told = {row[0]: row[1:] for row in rows(page, "In numbers")}
    assert told["Different neurons"] == [str(len(one)) for one in sets]
    assert told["of them in both"] == [str(len(sets[0] & sets[1]))] * 2
    assert told["Facts"] == ["43", "43"]
    page.go_back()
    titled(page, "P1 relation 1")


def test_the_baselines_neurons_and_the_edits_stand_beside_a_fact(page, made):
    at(page, made, "#P1/0")
    expect(page.locator("#fact h4", has_text="The baseline's neurons")).to_have_count(1)
    assert rows(page, "Edits of this fact")[0][:2] == ["a → b", "1 and 8"]
    ranked = rows(page, "Sentences that wake its neurons")
    assert [row[1] for row in ranked] == ["+4.00", "+3.00", "+1.00"]


# --- how it looks ----------------------------------------------------------------------------

VIEWS = ("#P1/0", "#neuron=2/3", "#compare=P1/P2")


@pytest.mark.parametrize("page", [(390, "light"), (320, "dark")], indirect=True)
@pytest.mark.parametrize("view", VIEWS)
def test_a_phone_never_scrolls_sideways(page, made, view):
    at(page, made, view)
    width = page.evaluate("innerWidth")
    assert page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("page", [(1280, "light"), (1280, "dark")], indirect=True)
def test_all_text_stands_out_from_its_ground(page, made):
    for view in VIEWS:
        at(page, made, view)
        assert page.evaluate(PALE_TEXTS, 4.5)["pale"] == []


def test_it_is_used_by_keyboard_alone(page, made):
    """From the search to a neuron, on to a fact by its row, whose title has the focus then."""
    (layer, index), _ = busiest(made)
    keys = page.keyboard
    page.locator("#search").focus()
    keys.type(f"{layer}/{index}")
    expect(page.locator("#count")).to_contain_text("1 neuron")
    keys.press("ArrowDown")
    keys.press("Enter")
    titled(page, f"Neuron [{layer}, {index}]")
    page.locator("#fact .heat tbody th a").first.focus()
    keys.press("Enter")
    expect(page.locator("#fact input").first).to_be_visible()
    assert page.evaluate("document.activeElement.tagName") == "H3"
