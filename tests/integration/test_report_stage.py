"""The report as users make it: after the stages on a tiny model, from a folder of any state.

Run: pytest tests/integration/test_report_stage.py
"""

import tomllib
from fnmatch import fnmatch
from importlib.resources import files
from typing import Any

from knowledge_neurons import ROOT
from knowledge_neurons.report import embedding
from tests.integration.stages import BAGS, fine, refused

STAGE = "8_plot_report.py"


def embedded(html: str, relation: str, part: str = "relation") -> Any:
    """A relation's details as the page carries them, or its texts."""
    start = f'data-{part}="{relation}">'
    return embedding.unpack(html[html.index(start) + len(start) :].split("<", 1)[0])


def test_the_report_grows_with_the_stages(own):
    """After stages 1 and 2, then 3 to 5: what is there is shown, the rest names its stage."""
    report = own.results / "report.html"
    ended = fine(own.here(STAGE))
    assert f"wrote {report}" in ended.out
    first = report.read_text()
    for command in ("3_run_modify_activation.sh", "4_run_distant.sh", "7_run_erase.sh REL"):
        assert f"bash {command}" in first
    assert embedded(first, "P36")["own"] == [None] * 4
    for stage in (
        *("3_modify_activation.py", "4_check_weights_distant.py", "5_find_trigger_examples.py"),
    ):
        fine(own.here(stage))
    fine(own.here(STAGE))
    second = report.read_text()
    assert "bash 3_run_modify_activation.sh</code>" not in second
    assert "Figure 4: change of the right answer" in second and "Table 4: mean" in second
    details = embedded(second, "P36")
    assert all(len(prompts) == 4 for prompts in details["own"])
    texts = [prompt[0] for prompt in BAGS["P36"][0]]
    assert embedded(second, "P36", "texts")[0] == texts
    fine(own.here(STAGE))
    assert report.read_text() == second, "the same files give the same bytes"


def test_what_was_run_is_told(own):
    """Counts, rule, model, data and the audit, as stage 1's manifests have them."""
    fine(own.here(STAGE))
    html = (own.results / "report.html").read_text()
    assert "22 facts of 2 relations, asked for by" in html
    for part in ("riemann-left, 20 steps", "data.json", own.identity("P19")["model_sha256"][:16]):
        assert part in html
    audit = [own.scores_manifest(name)["quadrature"] for name in ("P19", "P36")]
    prompts = sum(one["audited_prompts"] for one in audit)
    assert f"<strong>{prompts}</strong> prompts audited" in html
    assert str(own.results) not in html and str(own.model.parent) not in html


def test_a_folder_without_results_is_refused(place):
    place.results.mkdir()
    refused(place.here(STAGE), place.results, "nothing of stages 1 to 7", "1_run_mlm.sh")
    assert not (place.results / "report.html").exists()


def test_a_broken_file_is_named(own):
    path = own.scores("P36")
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([lines[0], b"[[1]]\n", *lines[2:]]))
    refused(own.here(STAGE), path, "line 2", "run the stage that wrote it again")


def test_an_installed_package_has_all_files_of_the_report():
    """Everything in its packages that is no Python is named as package data; and there is some."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    for package in ("knowledge_neurons.report", "knowledge_neurons.report.browser"):
        patterns = project["tool"]["setuptools"]["package-data"][package]
        there = [one.name for one in files(package).iterdir() if one.is_file()]
        others = [name for name in there if not name.endswith(".py")]
        assert others
        folder = ROOT / "src" / package.replace(".", "/")
        assert sorted(there) == sorted(one.name for one in folder.iterdir() if one.is_file())
        assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in others)
