"""What benchmarks/scale.py computes, tells and draws of its measurements; nothing is measured here.

Run: pytest tests/unit/test_scale.py
"""

import json
import sys
from dataclasses import asdict

import pytest

from benchmarks import scale, scale_made, scale_parts, scale_shown
from benchmarks.scale_parts import FULL, PARTS, QUICK
from benchmarks.scale_processes import Use, python, run
from knowledge_neurons.results.layout import Results
from knowledge_neurons.results.neurons import read_fact_neurons
from knowledge_neurons.text import data

WAYS = ("1 threads", "2 threads", "1 workers", "2 workers", "4 workers")


def worked(way: str, wall: float, start: float, same: bool = True) -> dict:
    use = asdict(Use(wall, wall, 300.0, 0.5))
    start_up = asdict(Use(start, start, 300.0, 0.5))
    work = {"work_wall_s": wall - start, "work_cpu_s": wall - start}
    return {"way": way, **use, "start_up": start_up, **work, "same": same}


@pytest.fixture
def rows() -> list[dict]:
    """60 s of work; workers start in 10 s and share it."""
    times = {"1 threads": (64, 4), "2 threads": (44, 4)}
    times |= {"1 workers": (70, 10), "2 workers": (40, 10), "4 workers": (41, 10)}
    return [worked(way, *times[way], same=way != "2 threads") for way in WAYS]


def test_efficiency_is_of_the_work_and_with_the_start_up(rows):
    """60 s by one, 30 s by two: 1; 64 s and 40 s with the start-up: 0.8."""
    gain = scale_parts._gain(rows)
    assert gain["efficiency_2"] == pytest.approx(1.0)
    assert gain["efficiency_2_with_start_up"] == pytest.approx(0.8)
    assert gain["efficiency_4"] == pytest.approx(60 / (4 * 31))
    assert gain["efficiency_2_threads"] == pytest.approx(0.75)


def test_lines_through_points():
    """Growth by a thousand, an amount further on, where a limit is met: inside and beyond."""
    points = [(1000, 10.0), (2000, 30.0), (4000, 50.0)]
    assert scale_parts.slope(*points[:2]) == 20
    assert scale_parts.amount_at(points, 10_000) == 110
    assert scale_parts.reaches(points, 20) == 1500
    assert scale_parts.reaches(points, 40) == 3000
    assert scale_parts.reaches(points, 60) == 5000


def test_a_process_that_nobody_waits_for_is_counted(tmp_path):
    """As Ray's workers are: a grandchild's CPU seconds and memory, not only the child's own."""
    burn = "import time; b = bytearray(150 << 20)\nwhile time.process_time() < 0.5: pass"
    child = (
        f"import os, subprocess, sys; one = subprocess.Popen([sys.executable, '-c', {burn!r}])\n"
        "os.waitid(os.P_PID, one.pid, os.WEXITED | os.WNOWAIT)"  # its end, and nothing of it
    )
    use = run(python("-c", child), tmp_path / "log", {})
    assert use.cpu_s > 0.35 and use.peak_mib > 150 and use.wall_s > use.cpu_s / 2


def test_a_command_that_fails_names_its_log(tmp_path):
    with pytest.raises(RuntimeError, match=f"ended with 3: see {tmp_path}"):
        run([sys.executable, "-c", "raise SystemExit(3)"], tmp_path / "log", {})


def test_invented_facts_are_read_as_the_data_is(tmp_path):
    """As many facts as asked for, none like another's prompts; neurons of 34 relations."""
    scale_made.prompts(tmp_path / "prompts.json", 100)
    bags = data.read_bags(tmp_path / "prompts.json")
    facts = data.facts_of(bags, scale_parts.RELATION, "made")
    assert len(facts) == 100 and {len(fact.prompts) for fact in facts} == {scale_parts.PROMPTS}
    assert len({prompt for fact in facts for prompt in fact.prompts}) == 800
    scale_made.neurons(tmp_path, 100)
    results = Results(tmp_path)
    names = results.refined_relations(False)
    made = [read_fact_neurons(results.fact_neurons(name, True)) for name in names]
    assert len(names) == scale_made.RELATIONS and sum(map(len, made)) == 100


@pytest.fixture
def record(rows) -> dict:
    """Every part, as it is written."""
    use = asdict(Use(2.0, 1.5, 300.0, 0.5))
    stages = dict.fromkeys(("1", "2_get_kn", "2_analyze_kn", "8_plot_figures", "8_plot_report"), 1)
    grown = [{"facts": n, "stages": dict.fromkeys(stages, use)} for n in (100, 1000)]
    pages = {name: use for name in ("8_plot_figures", "8_plot_report")}
    timed = {"tokens": 8, "seconds_a_prompt": 0.125, "peak_mib": 512}
    shape = {"shape": "tiny", "parameters": 10**6, "host_mib": 400, "gpu_mib": 100}
    plain = {"facts": 10**6, "default": use, "without_pairs": use}
    return {
        "workers": {"rows": rows, "efficiency_2": 0.91234},
        "facts": {"rows": grown, "memory_slopes": stages, "memory_slope_mib_per_1000_facts": 6.5},
        "statistics": {"rows": [plain], "stage2_s_per_million": 170.0},
        "report": {"rows": [{"facts": 100, "report_mb": 1.0, **pages}]},
        "lengths": {"rows": [timed, timed | {"tokens": 16}]},
        "sizes": {"rows": [{**shape, "timed": timed}, shape | {"shape": "7B"}]},
    }


def test_the_last_line_has_the_three_numbers(record):
    """None for a part that was not measured."""
    numbers = {"efficiency_2": 0.912, "memory_slope_mib_per_1000_facts": 6.5}
    assert scale.headline(record) == numbers | {"stage2_s_per_million": 170.0}
    assert scale.headline({})["efficiency_2"] is None


def test_other_bytes_are_a_fault_of_workers_alone(record):
    """Two threads in one process may give other last digits."""
    assert scale.differing(record) == []
    record["workers"]["rows"][3]["same"] = False
    assert scale.differing(record) == ["2 workers"]


def test_every_part_is_told_and_drawn_the_same_twice(record):
    """Tables hold the record's numbers; a figure is an SVG of the same bytes."""
    page = scale_shown.with_tables(scale_shown.PAGE.read_text(), record)
    assert record.keys() == PARTS.keys() == scale_shown.TABLES.keys()
    assert "| 2 workers | 40.0 | 10.0 | 40.0 | 1.00 | 0.80 | the same |" in page
    assert "| tiny | 1 | 0.39 | 0.10 | 0.50 | 0.125 |" in page
    assert scale_shown.with_tables(page, record) == page
    for name in scale_shown.FIGURES:
        picture = scale_shown.drawn(name, record[name])
        assert b"<svg" in picture and picture == scale_shown.drawn(name, record[name])


def test_the_page_has_the_numbers_of_the_record():
    """`python -m benchmarks.scale --shown` would change nothing."""
    text = scale_shown.PAGE.read_text()
    assert scale_shown.with_tables(text, json.loads(scale.RECORD.read_text())) == text


def test_a_part_that_was_not_measured_is_not_on_the_page(record):
    """Neither its words nor its figure; with its numbers all of it comes."""
    bare = "\n".join(f"<!-- table: growth, {name} -->\n<!-- end -->\n" for name in record)
    page = scale_shown.with_tables(bare, {"lengths": record.pop("lengths")})
    assert "**Length.**" in page and "](scale_lengths.svg)" in page
    assert page.count("**") == 2 and page.count("](") == 1
    page = scale_shown.with_tables(page, record)
    assert page.count("**") == 2 * len(PARTS) and page.count("](") == len(scale_shown.FIGURES)


def test_small_numbers_leave_nothing_out():
    assert vars(QUICK).keys() == vars(FULL).keys()
    assert all(len(counts) > 1 for counts in (QUICK.facts, QUICK.statistics, QUICK.report))
