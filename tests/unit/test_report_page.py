"""The page: what it says, and that text of the data stays text.

Run: pytest tests/unit/test_report_page.py
"""

import base64
import hashlib
import re
from pathlib import Path

import orjson
import pytest

from knowledge_neurons import report
from knowledge_neurons.artifacts import Results
from knowledge_neurons.report import page
from tests.reference.made_results import QUADRATURE, MadeFact, Shape, Writer

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
    assert len(scripts) == 1 + 2 + 1  # index, two relations, the browser
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
    assert not re.search(r"\s(src|href)=[\"'](?!#|data:,)", html)
    assert "@import" not in html and "url(http" not in html


# --- what the page says ----------------------------------------------------------------------


def test_the_same_results_give_the_same_bytes(plain):
    made, html = plain
    assert report.render(made.results) == html


def test_another_model_is_told_and_no_verdict_is_passed(plain):
    _, html = plain
    assert "the paper&#39;s is bert-base-cased with 12 layers" in html
    assert "not comparable" in html
    assert "inside the interval" not in html and "outside the interval" not in html


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


def test_the_audit_is_pooled_over_relations(tmp_path):
    """6 prompts of each of two, none over: at most 1 - 0.05^(1/12) of all."""
    made = writer(tmp_path)
    made.quadrature = QUADRATURE
    made.everything()
    html = report.render(made.results)
    assert "<strong>12</strong> prompts audited" in html and "at most 22.1 % of all" in html


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


def test_the_table_of_differences_is_the_readmes():
    """Both show one table: the package's file stands in the README word for word."""
    assert page.asset("differences.md").strip() in (ROOT / "README.md").read_text()
    head, *rows = page.differences()
    assert head == ["#", "paper's text", "released code", "here"]
    assert len(rows) >= 25 and all(len(row) == 4 and all(row) for row in rows)
    assert [int(row[0]) for row in rows] == sorted(int(row[0]) for row in rows)


def test_a_comparable_run_is_judged(tmp_path):
    """With the paper's model and counts in the manifests, every published number has a verdict."""
    made = writer(tmp_path)
    made.shape = Shape(model="bert-base-cased")
    made.everything()
    counts = ((17, 27_000, 250_000), (17, 738, 3_448))
    for name, (_, facts, prompts) in zip(made.relations, counts, strict=True):
        path = made.results.scores(name)
        manifest = path.with_name(f"{path.name}.manifest.json")
        content = orjson.loads(manifest.read_bytes())
        told = {"facts": facts, "prompts": prompts, "layers": 12}
        manifest.write_bytes(orjson.dumps(content | told))
        if name == "P19":
            for extra in range(32):
                copy = made.results.scores(f"P9{extra}")
                copy.with_name(f"{copy.name}.manifest.json").write_bytes(
                    orjson.dumps(content | {"facts": 0, "prompts": 0, "layers": 12})
                )
    html = report.render(made.results)
    assert "Comparable with the paper" in html and ">not comparable<" not in html
    assert ">outside the interval<" in html and ">differs from print<" in html
