"""The page: what it says, and that text of the data stays text.

Run: pytest tests/unit/test_report_page.py
"""

import base64
import hashlib
import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import pytest

from knowledge_neurons import report
from knowledge_neurons.report import page
from knowledge_neurons.report.comparability import TABLES, Comparability
from knowledge_neurons.report.formats import digits, number
from knowledge_neurons.results import outcomes, published
from knowledge_neurons.results.atomic import write_atomic
from knowledge_neurons.results.change_files import write_summary
from knowledge_neurons.results.comparison import log_odds_beside
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.manifests import write_manifest
from knowledge_neurons.results.provenance import Run, run_of
from knowledge_neurons.results.triggers import Triggered, Triggers, encode_triggers
from tests.reference import synthetic
from tests.reference.made_results import QUADRATURE, MadeFact, Writer

ROOT = Path(__file__).resolve().parents[2]
EVIL = '<script>document.title = "run"</script>'
PROMPTS = ("{} lives in [MASK] .", "the home of {} is [MASK] .")


def writer(folder: Path, head: str = "Ann", tail: str = "Rome", label: str = "birth") -> Writer:
    facts = [MadeFact(head, tail, PROMPTS), MadeFact("Bob", "Oslo", PROMPTS)]
    return Writer(Results(folder), {"P19": (label, facts), "P36": ("capital", facts[1:])})


def of(folder: Path, **changes) -> str:
    made = writer(folder, **changes)
    made.everything()
    return report.render(made.results)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> tuple[Writer, str]:
    """A folder of results and its report; not to be changed."""
    made = writer(tmp_path_factory.mktemp("plain"))
    made.everything()
    return made, report.render(made.results)


# --- text of the data ------------------------------------------------------------------------


def test_html_in_the_data_is_escaped_everywhere(tmp_path):
    """In head, tail, label and prompts: shown in trigger sentences and labels, run nowhere."""
    html = of(tmp_path, head=EVIL, tail="</script><b>", label="</title><i>")
    assert EVIL not in html and "<b>" not in html and "<i>" not in html
    assert "&lt;script&gt;document.title" in html and "&lt;/title&gt;&lt;i&gt;" in html
    scripts = re.findall(r"<script([^>]*)>", html)
    layers = sum("data-layer" in one or "data-active" in one for one in scripts)
    assert len(scripts) == 1 + 2 * 2 + layers + 1  # index, relations, prompts, neurons, the browser
    assert html.count("</script>") == len(scripts)
    assert scripts[-1] == "" and all("application/gzip" in tag for tag in scripts[:-1])


def test_a_label_with_a_dollar_sign_is_no_formula(tmp_path):
    """Matplotlib would read one; a broken one would stop the report."""
    assert "place $\\frac$ x" in of(tmp_path, label="place $\\frac$ x")


def test_only_the_pages_own_script_may_run(plain):
    """The policy names it by its hash and lets nothing else in, from nowhere."""
    _, html = plain
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', html)[1]
    script = html.rsplit("<script>", 1)[1].split("</script>")[0]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy and "default-src 'none'" in policy
    assert not re.search(r"\ssrc=", html)
    assert "@import" not in html and "url(http" not in html


def test_links_lead_to_files_of_the_folder_to_the_paper_and_to_its_code(tmp_path):
    """Names are escaped; what is gone is not linked; every section names its own files."""
    made = writer(tmp_path)
    made.everything()
    odd = made.results.root / "kn" / "kn_bag-a:b%.json"
    write_atomic(odd, b"[]")
    write_manifest(odd, {})
    gone = made.results.maps("P36")
    gone.unlink()
    html = report.render(made.results)
    links = set(re.findall(r'\shref="(?!#|data:,)([^"]+)"', html))
    outside = {link for link in links if ":" in link}
    assert outside == {published.PAPER_URL, published.CODE_URL}
    names = {unquote(link) for link in links - outside}
    assert all((made.results.root / name).is_file() for name in names)
    assert names >= {"TREx-all-P19.rlt.jsonl", "kn/kn_bag-a:b%.json", "erase/P19.jsonl"}
    assert "maps/P36.jsonl" not in names and "maps/P19.jsonl" in names


def test_templates_are_read_in_one_sitting():
    """No line runs out of sight, no file is longer than a module may be."""
    for path in (ROOT / "src/knowledge_neurons/report").glob("*.jinja"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 300 and max(map(len, lines)) <= 125, path.name


# --- what the page says ----------------------------------------------------------------------


def test_the_same_results_give_the_same_bytes(plain):
    made, html = plain
    assert report.render(made.results) == html


def test_the_template_leaves_no_gaps(plain):
    """A line of the template that decides something leaves no line in the page."""
    _, html = plain
    body = html[html.index("<body>") : html.index("<script")]
    assert body.count("\n\n") < 100 and html.endswith("</html>\n")


def test_another_model_is_told_and_no_verdict_is_passed(plain):
    _, html = plain
    assert "the paper&#39;s is bert-base-cased with 12 layers" in html
    assert html.count("Not comparable with the paper") == 1
    assert 'class="verdict' not in html and ">Difference<" not in html
    tiles = html[html.index('<dl class="tiles">') : html.index('<section id="facts">')]
    assert tiles.count("<dd>") == 4 and "paper" not in tiles
    assert html.index('id="comparable"') < html.index('<dl class="tiles">')


@pytest.mark.parametrize(
    "stages, commands",
    [
        ((1,), ("2_run_kn.sh", "3_run_modify_activation.sh", "4_run_distant.sh")),
        ((1, 2, 3), ("4_run_distant.sh", "5_run_trigger_examples.sh", "6_run_edit.sh 1 8")),
        ((2, 3, 4, 5), ("1_run_mlm.sh REL", "6_run_edit.sh 1 8", "7_run_erase.sh REL")),
    ],
)
def test_a_missing_part_names_its_stage(tmp_path, stages, commands):
    made = writer(tmp_path)
    for stage in stages:
        getattr(made, f"stage_{stage}")()
    html = report.render(made.results)
    for command in commands:
        assert f"<code>bash {command}</code>" in html
    assert "Differences from the released code" in html


def test_an_empty_folder_is_refused(tmp_path):
    with pytest.raises(ValueError, match="nothing of stages 1 to 7 is there"):
        report.render(Results(tmp_path))


def test_numbers_of_the_run_stand_in_the_tables(plain):
    """Neurons a fact, from the records; the published numbers."""
    made, html = plain
    sets = [own for neurons in made.neurons.values() for own in neurons]
    texts = set(re.findall(r">([^<>]+)<", html))
    assert f"{sum(map(len, sets)) / len(sets):.2f}" in texts
    assert texts >= {"4.13", "−29.03", "+31.17", "0.485", "48.5", "34.4", "+106.6"}
    assert "1450.0 → 2996.0" in texts and "3 facts of 2 relations" in html


def test_changes_of_log_odds_stand_below_the_shares(tmp_path):
    """In nats, with one sentence that says when to read which; older records have none."""
    results = synthetic.write(tmp_path, 2, ("modified", "curves"))
    html = report.render(results)
    section = html[html.index('<section id="changes">') : html.index('<section id="sentences">')]
    row = log_odds_beside(outcomes.read(results).modified, 0.0)[0]
    assert f"{number(row.ours, digits(row), signed=True)}</td>" in section and "nats" in section
    assert section.count("log-odds, own facts") == 2 and section.count('id="log-odds"') == 1
    assert section.count("<svg") == 6, "Figures 4 and 5 and a curve, each in both units"
    old = replace(outcomes.read(results).modified, log_odds=None)
    write_summary(results.changes_summary, old)
    write_manifest(results.changes_summary, synthetic.IDENTITY)
    html = report.render(results)
    assert "There are no log-odds:\nstage 3 kept none" in html and 'id="log-odds"' not in html


def test_the_audit_is_pooled_over_relations(tmp_path):
    """6 prompts of each of two, none over: at most 1 - 0.05^(1/12) of all."""
    made = writer(tmp_path)
    made.quadrature = QUADRATURE
    made.everything()
    html = report.render(made.results)
    assert "<strong>12</strong> prompts audited" in html and "at most 22.1 % of all" in html


def test_relations_outside_the_band_are_named_beside_table_2(tmp_path):
    """With what they have instead and what to try; nothing where stage 2 reached the band."""
    made = writer(tmp_path)
    made.everything()
    assert "Not the paper" not in report.render(made.results)
    for name, average in (("P36", 12.0), ("P19", 23.4)):
        told = {"in_band": False, "neurons_per_fact": average, "shared_used": 0.95}
        write_manifest(made.results.fact_neurons(name, False), made.identity, **told)
    told["in_band"] = True
    write_manifest(made.results.fact_neurons("P19", True), made.identity, **told)
    html = report.render(made.results)
    assert "gives the knowledge neurons of\n2 relations 2 to 5" in html
    assert "(P19: 23.40 at p = 0.95; P36: 12.00 at p = 0.95)" in html
    assert "Another <code>--coarse</code>" in html
    assert "Another <code>--base_coarse</code>" not in html


def test_units_and_method_of_the_intervals_are_told_once(plain):
    _, html = plain
    assert html.count("Wilson") == 1 and "bootstrap\nof 2,000 samples" in html


def test_only_table_2_is_exact(tmp_path):
    """Everything of a single fact: no interval, which is a dash and not said to be exact."""
    made = Writer(Results(tmp_path), {"P19": ("birth", [MadeFact("Ann", "Rome", PROMPTS)])})
    made.everything()
    html = report.render(made.results)
    cells = re.findall(r'<td class="n interval"[^>]*>([^<]*)</td>', html)
    assert cells[:6] == ["exact"] * 6 and "exact" not in cells[6:]
    assert cells[6] == "–"


def test_the_draw_of_the_edits_is_named(plain, tmp_path):
    _, html = plain
    assert "as the released code draws them: again and again" in html
    made = writer(tmp_path)
    made.stage_6()
    path = made.results.edits("edit-1-8").with_suffix(".json")
    path.write_text(path.read_text().replace('"released"', '"distinct"'))
    write_manifest(path, {})
    assert "<code>--draw distinct</code>" in report.render(made.results)


def test_the_share_of_other_coarse_sets_is_told_where_stage_1_measured_it(tmp_path):
    integral = {
        **{"prompts": 10, "median": 0.05, "p95": 0.2, "largest": 0.4},
        **{"coarse_same": 0.75, "completeness_gap": 0.001},
    }
    made = writer(tmp_path)
    audit = QUADRATURE | {"integral": integral}
    made.quadrature = audit
    made.everything()
    html = report.render(made.results)
    assert "<strong>25.0 %</strong> of them" in html and "20 prompts: the coarse" in html


def test_the_table_of_differences_is_that_of_the_docs():
    """Both show one table: the package's file stands in docs/differences.md word for word."""
    assert page.asset("differences.md").strip() in (ROOT / "docs/differences.md").read_text()
    head, *rows = page.differences()
    assert head == ["#", "paper's text", "released code", "here"]
    assert all(len(row) == 4 and all(row) for row in rows)
    assert [int(row[0]) for row in rows] == list(range(1, len(rows) + 1)) and len(rows) > 20
    assert not any(row[3] == "same" or row[3].startswith("same;") for row in rows)
    checked = page.checked_the_same()
    assert len(checked) > 5 and sum("--draw" in item for item in checked) == 2


def test_every_difference_that_the_code_names_stands_in_the_table():
    """And every deviation names its row."""
    rows = {int(row[0]) for row in page.differences()[1:]}
    named, deviations = set(), 0
    for path in (ROOT / "src").rglob("*.py"):
        for part in path.read_text().split("DEVIATION")[1:]:
            assert re.search(r"\(differences? \d", part[:300]), (path, part[:80])
            deviations += 1
        for numbers in re.findall(r"\(differences? ([\d, ]+)\)", path.read_text()):
            named |= {int(number) for number in numbers.split(",")}
    assert deviations > 12 and named <= rows


@pytest.mark.parametrize("verified", [True, False])
def test_a_comparable_run_is_judged(plain, monkeypatch, verified):
    """Every published number has a verdict; where the weights are not known none has, said once."""
    made, _ = plain
    others = {table: [] for table in TABLES} | {"erasures": ["stage 7 has neurons 5, the paper 20"]}
    found = Comparability([], others, verified)
    monkeypatch.setattr(page, "comparability", lambda manifests: found)
    html = report.render(made.results)
    verdicts = {">outside the interval<", ">differs from print<"}
    if verified:
        assert "Comparable with the paper" in html and all(v in html for v in verdicts)
    else:
        assert html.lower().count("not verified") == 1 and ">Verdict<" not in html
        assert ">Difference<" in html and not any(v in html for v in verdicts)
    tiles = html[html.index('<dl class="tiles">') : html.index('<section id="facts">')]
    assert tiles.count("<small>paper") == 4
    erasures = html[html.index('<section id="erasures">') : html.index('<section id="maps">')]
    assert "Not compared with the paper's: stage 7 has neurons 5, the paper 20.</p>" in erasures
    assert ">+106.6" in erasures and 'class="verdict' not in erasures


def trigger_file(results: Results, relation: str, sentences: list[int]) -> None:
    """Stage 5's records of facts with so many ranked sentences."""
    lines = []
    for fact, count in enumerate(sentences):
        ranked = [Triggered(float(-place), "one", "[MASK]", ["[MASK]"]) for place in range(count)]
        triggers = Triggers(relation, fact, "head", "label", "tail", ranked, {})
        lines.append(encode_triggers(triggers, [], 2) + b"\n")
    write_atomic(results.triggers(relation), b"".join(lines))


@pytest.mark.parametrize(
    "relations, shown",
    [(1, [1]), (4, [1, 2, 3, 4]), (7, [1, 2, 3, 4]), (8, [1, 3, 5, 7]), (13, [1, 4, 7, 10])],
)
def test_trigger_sentences_of_four_relations_spread_over_all(tmp_path, relations, shown):
    """The first fact of each that has four sentences, two for either end; a step of two of 8."""
    results = Results(tmp_path)
    for place in range(1, relations + 1):
        trigger_file(results, f"P{place:02}", [3, 0, 4, 9])
    found = page.triggers_of(outcomes.read(results))
    assert [(one.relation, one.fact) for one in found] == [(f"P{n:02}", 2) for n in shown]
    assert [len(one.top) for one in found] == [2] * len(shown)


def test_relations_without_enough_sentences_show_none(tmp_path):
    trigger_file(Results(tmp_path), "P1", [3, 3])
    trigger_file(Results(tmp_path), "P2", [4])
    assert [one.relation for one in page.triggers_of(outcomes.read(Results(tmp_path)))] == ["P2"]


def test_a_run_is_summed_over_its_relations():
    """What a manifest does not tell counts as none; other stages' are not looked at."""
    told = {"layers": 12, "facts": 10, "prompts": 40, "skipped_facts": [3, 4], "prompts_cut": 2}
    named = {"arguments": {"bert_model": "models/tiny.tar.gz"}}
    of_a_decoder = {
        "identity": {"layers": "1-3", "answers": "own"},
        "prompts_left_out": {"one reason": 2, "another": 3},
        "answers_of_several_tokens": {"2": 3, "3": 1},
    }
    found = run_of(
        {
            "a-P1.rlt.jsonl": told | named | of_a_decoder,
            "a-P2.rlt.jsonl": told | {"layers": 4, "arguments": {"bert_model": "x/base"}},
            "a-P3.rlt.jsonl": {},
            "kn/statistics.json": {"facts": 1000},
        }
    )
    assert found == Run(
        model="base, tiny, unknown",
        layers=[4, 12],
        width=[],
        relations=3,
        facts=20,
        prompts=80,
        scored=["1-3"],
        left_out=5,
        several={"own": 4},
        skipped=4,
        cut=4,
    )
    assert run_of({"kn/statistics.json": {"facts": 1000}}) is None
