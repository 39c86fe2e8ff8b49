"""A file that grows in groups, whoever works on them.  Run: pytest tests/unit/test_grow.py"""

import json
from dataclasses import replace
from io import StringIO

import pytest

from knowledge_neurons.results.companions import partial_path
from knowledge_neurons.results.manifests import read_manifest
from knowledge_neurons.runs import grow as module
from knowledge_neurons.runs.grow import Job, grow, progress

UNDER = {"device": "cpu", "threads": 1}


@pytest.fixture
def job(tmp_path):
    """Seven facts of two records each, three facts together; groups are noted in `asked`."""
    asked = []

    def work(some: range) -> list[str]:
        asked.append(some)
        return [f"{fact} {part}" for fact in some for part in "ab"]

    path = tmp_path / "records.jsonl"
    made = Job(path, {"seed": 1}, "P19", 7, 3, work, lambda record: json.dumps(record).encode(), 2)
    return made, asked


class Two:
    """An executor that says it is two workers; does what it is told with work and groups."""

    workers = 2

    def __init__(self, does):
        self.does = does

    def __call__(self, work, groups):
        return self.does(work, groups)


def lines(path) -> list[str]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


WHOLE = [f"{fact} {part}" for fact in range(7) for part in "ab"]


def test_groups_in_order_and_what_the_manifest_says(job):
    made, asked = job
    assert grow(made, {"seed": 1, "flag": None}, UNDER)
    assert asked == [range(0, 3), range(3, 6), range(6, 7)] and lines(made.path) == WHOLE
    manifest = read_manifest(made.path)
    assert manifest["arguments"] == {"seed": 1, "flag": None} and manifest["complete"]
    assert (manifest["facts"], manifest["facts_resumed"], manifest["device"]) == (7, 0, "cpu")
    assert manifest["wall_seconds"] >= 0 and manifest["made_under"][0]["threads"] == 1
    assert not grow(made, {}, UNDER) and len(asked) == 3, "done: nothing is worked on"


def test_an_interrupted_one_goes_on_with_the_same_groups(job):
    """Whole groups that were handed over are kept; the file is that of an uninterrupted run."""
    made, asked = job

    def stop(some: range) -> list[str]:
        if some.start == 6:
            raise KeyboardInterrupt
        return made.work(some)

    with pytest.raises(KeyboardInterrupt):
        grow(replace(made, work=stop), {}, UNDER)
    assert not made.path.exists()
    partial = partial_path(made.path)
    assert lines(partial) == WHOLE[:12]
    partial.write_bytes(partial.read_bytes()[:-3])  # killed while it wrote
    asked.clear()
    assert grow(made, {}, UNDER)
    assert asked == [range(3, 6), range(6, 7)] and lines(made.path) == WHOLE
    assert read_manifest(made.path)["facts_resumed"] == 6, "lines, two of a fact"


def test_an_executor_may_work_ahead(job):
    """It is handed all groups; what it yields is written in their order, by how many is noted."""
    made, asked = job

    def backwards(work, groups):
        results = {some: work(some) for some in reversed(groups)}
        return (results[some] for some in groups)

    assert grow(made, {}, UNDER, executor=Two(backwards))
    assert asked[0] == range(6, 7) and lines(made.path) == WHOLE
    assert read_manifest(made.path)["workers"] == 2


def test_too_few_groups_from_an_executor_end_no_file(job):
    made, _ = job
    with pytest.raises(ValueError):
        grow(made, {}, UNDER, executor=Two(lambda work, groups: map(work, groups[:1])))
    assert not made.path.exists() and lines(partial_path(made.path)) == WHOLE[:6]


def test_a_second_file_and_an_ending_of_ones_own(job, tmp_path):
    """The ending sees the second file; what it returns is in the manifest."""
    made, _ = job
    beside = tmp_path / "beside.jsonl"

    def ending(lines, resumed):
        found = lines.read_beside(int)
        return {"sum": sum(found), "resumed": resumed}

    made = replace(made, beside=(beside, lambda record: record[0].encode()))
    assert grow(made, {}, UNDER, ending)
    assert lines(made.path) == WHOLE and lines(beside)[-1] == 6
    manifest = read_manifest(made.path)
    assert (manifest["sum"], manifest["resumed"]) == (42, 0) and "facts" not in manifest


def test_what_else_there_is_to_keep_comes_before_the_lines(job):
    """Of every record, and in order; of a group, all before its first line is there."""
    made, _ = job
    kept = []
    partial = partial_path(made.path)
    keep = lambda record: kept.append((record, partial.stat().st_size))  # noqa: E731
    assert grow(replace(made, keep=keep), {}, UNDER)
    assert [record for record, _ in kept] == WHOLE
    assert [size for _, size in kept[:7]] == [0] * 6 + [6 * len(b'"0 a"\n')]


def test_an_error_names_the_fact_that_fails_alone_too(job):
    """As the job names it, else by its place; with none that does, the group."""
    made, asked = job

    def fail(some: range) -> list[str]:
        if 4 in some:
            raise ValueError("not finite")
        return made.work(some)

    with pytest.raises(ValueError, match=r"^P19 fact 4: not finite$"):
        grow(replace(made, work=fail), {}, UNDER)
    told = "fact {} of seven".format
    with pytest.raises(ValueError, match=r"^fact 4 of seven: not finite$"):
        grow(replace(made, work=fail, told=told), {}, UNDER)
    many = replace(made, work=lambda some: fail(some) if len(some) > 1 else made.work(some))
    with pytest.raises(ValueError, match=r"^fact 3 of seven to fact 5 of seven: not finite$"):
        grow(replace(many, told=told), {}, UNDER)
    assert asked[0] == range(0, 3)


@pytest.mark.parametrize("watched, seconds", [(True, 0.1), (False, 15.0)])
def test_progress_is_shown_seldom_where_nobody_watches(monkeypatch, watched, seconds):
    """A log gets a line every 15 seconds; facts of an earlier run count as done."""
    monkeypatch.setattr("sys.stderr", StringIO())
    monkeypatch.setattr("sys.stderr.isatty", lambda: watched)
    with progress(10, "P19", "fact", 3) as bar:
        assert (bar.total, bar.initial, bar.n, bar.unit) == (10, 3, 3, "fact")
        assert bar.mininterval == seconds and bar.desc == "P19"
    with progress(10, "P19", "fact") as bar:
        assert bar.n == 0


def test_each_fact_is_counted_when_its_group_is_done(job, monkeypatch):
    """Groups of three, three and one."""
    made, _ = job
    seen = []

    class Bar:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        update = staticmethod(seen.append)

    monkeypatch.setattr(module, "progress", lambda *told: seen.append(told) or Bar())
    assert grow(made, {}, UNDER)
    assert seen == [(7, "P19", "fact", 0), 3, 3, 1]
