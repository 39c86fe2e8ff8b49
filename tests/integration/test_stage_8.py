"""Stage 8 as users run it, on results that the stages' own writers wrote; no model is there.

Run: pytest tests/integration/test_stage_8.py
"""

import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from knowledge_neurons.figures import gallery
from knowledge_neurons.results.manifests import read_manifest, sha256_of, write_manifest
from knowledge_neurons.results.outcomes import RUN
from knowledge_neurons.stages import numbered
from tests.integration.stages import SRC, Ended, Place, fine, refused
from tests.reference import synthetic

STAGE_8 = "8_plot_figures.py"
ALL = (
    *("kneurons_distribution", "suppress", "amplify", "distant", "edit_success-1-8", "erasure"),
    *("dose_response-P5", "neuron_map-P5"),
    *("suppress_log_odds", "amplify_log_odds", "dose_response_log_odds-P5"),
)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """Stages 2 to 7 of three relations; not to be changed."""
    folder = tmp_path_factory.mktemp("stage_8") / "results"
    synthetic.write(folder, 3)
    return folder


@pytest.fixture
def own(written, tmp_path) -> Place:
    """A copy, and neither model nor data."""
    shutil.copytree(written, tmp_path / "results")
    return place_of(tmp_path)


def place_of(folder: Path) -> Place:
    return Place(folder / "no model", folder / "no data", folder / "results")


def plot(place: Place, *arguments: object) -> Ended:
    return place.here(STAGE_8, *arguments)


def figures_of(place: Place) -> set[str]:
    """Names of the figures that are there, each whole as PDF and PNG, each with a manifest."""
    folder = place.results / "figs"
    names = {path.name.removesuffix(".pdf") for path in folder.glob("*.pdf")}
    for name in names:
        pdf, png = ((folder / f"{name}{suffix}") for suffix in (".pdf", ".png"))
        assert pdf.read_bytes().startswith(b"%PDF-") and b"IEND" in png.read_bytes()[-12:]
        for path in (pdf, png):
            assert read_manifest(path)["complete"]
    assert len(list(folder.glob("*.p*"))) == 2 * len(names)
    return names


def bytes_of_figures(place: Place) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (place.results / "figs").glob("*.p*[fg]")}


@pytest.mark.parametrize("count", [1, 34])
def test_draws_everything(tmp_path, count):
    """One relation, and as many as the paper has."""
    synthetic.write(tmp_path / "results", count)
    place = place_of(tmp_path)
    shutil.rmtree(place.results / "figs", ignore_errors=True)
    ended = fine(plot(place))
    assert figures_of(place) == set(ALL)
    assert all(name in ended.out for name in ALL) and "Not drawn" not in ended.out


def test_manifests_name_what_was_drawn_and_two_runs_write_the_same_bytes(own):
    """The sources' sha256, and that of nothing else."""
    fine(plot(own))
    before = bytes_of_figures(own)
    identity = own.manifest("figs/distant.png")["identity"]
    records = [f"distant/{name}.jsonl" for name in synthetic.relations_of(3)]
    assert set(identity["sources_sha256"]) == {"distant/summary.json", *records}
    for name, told in identity["sources_sha256"].items():
        assert told == sha256_of(own.results / name)
    identity = own.manifest("figs/erasure.pdf")["identity"]
    assert len(identity["sources_sha256"]) == 3
    fine(plot(own))
    assert bytes_of_figures(own) == before and len(before) == 2 * len(ALL)


@pytest.mark.parametrize(
    ("part", "drawn"),
    [
        ("statistics", {"kneurons_distribution"}),
        ("modified", {"suppress", "amplify", "suppress_log_odds", "amplify_log_odds"}),
        ("curves", {"dose_response-P5", "dose_response_log_odds-P5"}),
        ("activations", {"distant"}),
        ("edits", {"edit_success-1-8"}),
        ("erasures", {"erasure"}),
        ("maps", {"neuron_map-P5"}),
        ("triggers", set()),  # read by the report
    ],
)
def test_a_stage_alone_draws_its_figures_and_the_others_are_named(tmp_path, part, drawn):
    """Each missing figure with what to run for it; nothing of it is an error."""
    synthetic.write(tmp_path / "results", 2, [part])
    place = place_of(tmp_path)
    shutil.rmtree(place.results / "figs", ignore_errors=True)
    ended = fine(plot(place))
    assert figures_of(place) == drawn
    _, advice = ended.out.split("Not drawn")
    for other, what in gallery.PARTS.items():
        told = {"edits": "success"}.get(part, part) != other
        assert (f"{what}  " in advice) == told
        assert (RUN[other] in advice) == (told or RUN[other] == RUN["modified"])


def test_the_papers_look_of_figure_3_is_a_flag_of_both_halves(tmp_path):
    """The other figures stay as they are; the report shows the look that was asked for."""
    synthetic.write(tmp_path / "results", 1, ["statistics", "modified"])
    place, drawn, pages = place_of(tmp_path), [], []
    for flags in ([], ["--paper_look"]):
        fine(plot(place, *flags))
        fine(place.here("8_plot_report.py", *flags))
        drawn.append(bytes_of_figures(place))
        pages.append((place.results / "report.html").read_text())
    changed = {name for name in drawn[0] if drawn[0][name] != drawn[1][name]}
    assert changed == {"kneurons_distribution.pdf", "kneurons_distribution.png"}
    assert pages[0] != pages[1]


def test_other_models_runs_beside_this_one(tmp_path):
    """Named from where the user stands: the table on the screen and in the report, one figure more,
    all else as it was; the other folder is left as it is."""
    synthetic.write(tmp_path / "results", 2, ["statistics", "modified"])
    synthetic.write(tmp_path / "other", 1, ["statistics"])
    place = place_of(tmp_path)
    fine(place.shell("8_run_plot.sh"))
    before, there = bytes_of_figures(place), sorted((tmp_path / "other").rglob("*"))
    assert "beside" not in place.manifest("figs/suppress.pdf")["arguments"]
    ended = fine(place.shell("8_run_plot.sh", "--beside", "other"))  # its folder is tmp_path
    assert "Models beside each other" in ended.out and "../other" in ended.out
    after = bytes_of_figures(place)
    assert {name: after[name] for name in before} == before
    assert after.keys() - before.keys() == {"neurons_by_depth.pdf", "neurons_by_depth.png"}
    manifest = place.manifest("figs/neurons_by_depth.png")
    assert manifest["arguments"]["beside"] == ["other"]
    assert manifest["identity"]["sources_sha256"] == {
        name: sha256_of(place.results / name)
        for name in ("kn/statistics.json", "../other/kn/statistics.json")
    }
    assert '<section id="models">' in (place.results / "report.html").read_text()
    assert sorted((tmp_path / "other").rglob("*")) == there


@pytest.mark.parametrize(
    ("named", "problem"),
    [
        ("{}/nowhere", "no such folder"),
        ("{}/results", "the folder of this run itself"),
        ("{}/other,{}/other/../other", "named twice"),
        ("{}/empty", "nothing of stages 1 to 7"),
        (",", "expected FOLDER,..."),
    ],
)
def test_a_folder_that_cannot_stand_beside_is_refused_before_any_work(tmp_path, named, problem):
    for name in ("results", "other"):
        synthetic.write(tmp_path / name, 1, ["statistics"])
    (tmp_path / "empty").mkdir()
    place = place_of(tmp_path)
    folder = named.format(tmp_path, tmp_path)
    for script in (STAGE_8, "8_plot_report.py"):
        refused(place.here(script, "--beside", folder), "--beside", problem, folder.split(",")[-1])
    assert (
        not (place.results / "figs").exists() and not place.results.joinpath("report.html").exists()
    )


def test_of_a_language_the_same_language_stands_beside(tmp_path):
    """A folder is named as --output_dir names it."""
    synthetic.write(tmp_path / "results/languages/fr", 1, ["statistics"])
    synthetic.write(tmp_path / "other/languages/fr", 1, ["statistics"])
    place = place_of(tmp_path)
    ended = fine(plot(place, "--language", "fr", "--beside", tmp_path / "other"))
    assert "../../../other/languages/fr" in ended.out


def test_edits_without_counts_of_neurons_draw_no_curve(tmp_path):
    """Table 6 alone is not section 5.1's curve."""
    synthetic.write(tmp_path / "results", 2, ["edits"])
    place = place_of(tmp_path)
    for path in (place.results / "edit").glob("*top_k*"):
        path.unlink()
    assert "--top_k" in fine(plot(place)).out
    assert figures_of(place) == set()


def test_empty_folder_is_an_error(tmp_path):
    refused(plot(place_of(tmp_path)), "nothing of stages 1 to 7", "KN_RESULTS")
    assert not (tmp_path / "results").exists()


def test_broken_file_is_an_error_that_names_it(own):
    path = own.results / "modify_activation" / "summary.json"
    path.write_text(path.read_text()[:-40])
    refused(plot(own), path, "not valid JSON")


def test_refuses_a_prefix_that_is_none(own):
    refused(plot(own, "--output_prefix", "a/b"), "--output_prefix")


def test_results_of_two_models_are_told(tmp_path):
    """They are drawn all the same: the files do not say which is wanted."""
    synthetic.write(tmp_path / "results", 1, ["erasures"])
    place = place_of(tmp_path)
    assert "warning" not in fine(plot(place)).out
    path = place.results / "erase" / "P5.jsonl"
    manifest = read_manifest(path)
    write_manifest(path, manifest["identity"] | {"model_sha256": "ef" * 32})
    ended = fine(plot(place))
    assert "2 models (sha256 abababababab, efefefefefef)" in ended.out


def test_shell_stage_calls_figures_and_report(tmp_path):
    """In this order, with all arguments; a stand-in for python writes down what it is asked."""
    stand_in = tmp_path / "python"
    stand_in.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/asked\n')
    stand_in.chmod(stand_in.stat().st_mode | stat.S_IXUSR)
    environment = os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    command = ["bash", str(SRC / "8_run_plot.sh"), "--output_dir", "there"]
    subprocess.run(command, env=environment, check=True)
    asked = (tmp_path / "asked").read_text().splitlines()
    assert asked == [f"{SRC / 'knowledge_neurons_lab.py'} stage 8 --output_dir there"]
    assert numbered.STAGES[8].scripts == (STAGE_8.removesuffix(".py"), "8_plot_report")
