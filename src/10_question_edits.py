"""Stage 10, edits: what critics ask of them -> results/controls/.

Usage: bash 10_controls.sh [--ask symmetry,editors]      (see --help for every flag)

symmetry (Niu et al. 2024): facts that the model answers right are edited as stage 6 does it, with
the neurons of stage 2.  Is the inverse relation edited too, and the fact by another name of its
head?  --inverses FILE says how a relation is asked backwards, and the names.

editors (Meng et al. 2022): cases of CounterFact are edited with neurons of the prompt to rewrite
alone, and judged by efficacy, paraphrases and neighbours as editors are; no result of another stage
is needed.  --from FILE: scripts/get_data.py --counterfact fetches the published one.

Random neurons are edited alike beside the fact's own.  controls/symmetry.jsonl holds a line an
edit, controls/editors.jsonl a line a case, symmetry.json and editors.json what they come to.  A run
that was interrupted goes on.
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from knowledge_neurons.experiments import choose_facts, edit_symmetry, judge_editors
from knowledge_neurons.experiments.choose_facts import Plan
from knowledge_neurons.results.editors import (
    EDITORS,
    CaseRecord,
    Editors,
    judge,
    read_cases_judged,
    write_editors,
)
from knowledge_neurons.results.edits import CHOSEN, Variant
from knowledge_neurons.results.growing import GrowingLines
from knowledge_neurons.results.json_files import encode_float32
from knowledge_neurons.results.manifests import is_done, sha256_of, write_manifest
from knowledge_neurons.results.symmetry import (
    EDITED,
    SYMMETRY,
    Symmetry,
    SymmetryRecord,
    reach_of,
    read_symmetry,
    write_reach,
)
from knowledge_neurons.runs.grow import Job, grow
from knowledge_neurons.stages import questioning, tables
from knowledge_neurons.stages.backwards import questions_of, relations_of
from knowledge_neurons.stages.inputs import Inputs, open_inputs, with_model
from knowledge_neurons.stages.questioning import OF_EDITS, Settings
from knowledge_neurons.text.counterfact import read_cases
from knowledge_neurons.text.inverses import read_inverses
from knowledge_neurons.types import KNOWLEDGE

GROUP = 4  # cases worked on together: what an interruption loses


def asked(settings: Settings) -> list[str]:
    """What --ask names of these questions, else what there is data for."""
    if settings.ask:
        return [question for question in OF_EDITS if question in settings.ask]
    there = set(settings.results.refined_relations(False)) & read_inverses(settings.inverses).keys()
    there &= set(settings.relations or there)
    if there and settings.data_path.exists():
        return list(OF_EDITS)
    print(
        f"symmetry: left out, {settings.results.kn} has no neurons of a relation asked for that "
        f"{settings.inverses} tells the inverse of, or {settings.data_path} is not there"
    )
    return [EDITORS]


def write_summary(settings: Settings, question: str, made_from: Mapping[str, Any]) -> None:
    """The manifest of a question's summary, and where everything is."""
    results = settings.results
    records, path = results.questioned(question), results.questioned_summary(question)
    about = {"records": records.name, "records_sha256": sha256_of(records), "seed": settings.seed}
    write_manifest(path, about, arguments=settings.given, **made_from)
    for output in (records, path):
        print(f"wrote {output}")


def grow_and_check(job: Job, inputs: Inputs) -> None:
    """Make the records that are not there yet, after which the weights must be as before."""

    def ending(_: GrowingLines, resumed: int) -> dict[str, Any]:
        return {"lines_resumed": resumed, "model_sha256_after": inputs.check_unchanged()}

    grow(job, inputs.settings.given, inputs.under, ending, inputs.executor)


# --- symmetry --------------------------------------------------------------------------------


def question_symmetry(inputs: Inputs) -> None:
    settings, model = inputs.settings, inputs.pretrained.model
    tokenizer = inputs.pretrained.tokenizer
    inverses = read_inverses(settings.inverses)
    relations = relations_of(inputs, settings.inverses, inverses)
    bags = {one.name: one.known(inputs.encode(one.facts)) for one in relations}
    chosen = choose_facts.Selection(
        settings.facts_per_relation, others=0, seed=settings.seed, draw=choose_facts.DISTINCT
    )
    plans = {
        one.name: choose_facts.plan(model, bags, one.name, one.neurons[KNOWLEDGE], chosen)
        for one in relations
    }
    inputs.show("Stage 10, symmetry", bags, plans)
    edits = [
        pair
        for one, plan in zip(relations, plans.values(), strict=True)
        for pair in zip(
            plan.facts,
            questions_of(inputs, one, settings.pairs, inverses[one.name], bags[one.name], plan),
            strict=True,
        )
    ]
    if not edits:
        print("no fact to edit in any relation, and nothing written; the table above says why")
        return
    variant = Variant(settings.lambda_1, settings.lambda_2)

    def work(some: range) -> list[SymmetryRecord]:
        how = variant, settings.seed
        return [
            record
            for place in some
            for record in edit_symmetry.edit_and_ask(model, tokenizer, *edits[place], *how)
        ]

    path = settings.results.questioned(SYMMETRY)
    identity = inputs.identity_of_all | {
        "neurons_sha256": {one.name: one.neurons_sha256[KNOWLEDGE] for one in relations},
        "inverses_sha256": sha256_of(settings.inverses),
        "pairs_sha256": sha256_of(settings.pairs),
        "facts_per_relation": settings.facts_per_relation,
        "lambdas": [settings.lambda_1, settings.lambda_2],
    }
    places = [planned.asked for planned, _ in edits]
    job = Job(
        *(path, identity, SYMMETRY, len(edits), 1, work, encode_float32),
        records=len(EDITED),
        told=lambda place: f"{places[place].relation} fact {places[place].fact}",
    )
    grow_and_check(job, inputs)
    found = Symmetry(
        relations={name: counts_of(plan) for name, plan in plans.items()},
        reach=reach_of(read_symmetry(path), settings.seed),
    )
    write_reach(settings.results.questioned_summary(SYMMETRY), found)
    tables.show_reach(found["reach"])
    write_summary(settings, SYMMETRY, {"draw": chosen.draw})


def counts_of(plan: Plan) -> dict[str, int]:
    return {
        "edits": len(plan.facts),
        "drawn": plan.drawn,
        "answered_wrong": plan.wrong,
        "without_neurons": plan.without_neurons,
    }


# --- editors ---------------------------------------------------------------------------------


def question_editors(inputs: Inputs) -> None:
    settings, pretrained = inputs.settings, inputs.pretrained
    cases = judge_editors.draw_cases(read_cases(settings.cases), settings.max_cases, settings.seed)
    skip = settings.oov == "skip"
    how = pretrained.tokenizer, inputs.max_tokens, skip, str(settings.cases)
    asked, left_out = judge_editors.encode_cases(cases, *how)
    rows = {"cases": f"{len(asked)} of {settings.cases}"} | {w: n for w, n in left_out.items()}
    tables.show("Stage 10, editors", {"model": inputs.shown, **rows})
    if not asked:
        raise ValueError(f"{settings.cases}: none of its {len(cases)} cases can be asked")
    lambdas = settings.lambda_1, settings.lambda_2
    editing = judge_editors.Editing(settings.neurons, *lambdas, settings.seed)
    path = settings.results.questioned(EDITORS)
    identity = inputs.identity | {
        "max_seq_length": inputs.max_tokens,
        "oov": settings.oov,
        "max_cases": settings.max_cases or 0,
        "neurons": settings.neurons,
        "lambdas": lambdas,
        "seed": settings.seed,
    }
    if not is_done(path, identity):
        engine = judge_editors.engine_for(pretrained.model, pretrained.tokenizer, asked)

        def work(some: range) -> list[CaseRecord]:
            return list(judge_editors.judge_cases(engine, asked[some.start : some.stop], editing))

        job = Job(path, identity, EDITORS, len(asked), GROUP, work, encode_float32)
        grow_and_check(job, inputs)
    records = read_cases_judged(path)
    found = Editors(
        source=settings.cases.name,
        left_out=left_out,
        without_neurons=sum(not record.neurons[CHOSEN] for record in records),
        judged=judge(records, settings.seed),
    )
    write_editors(settings.results.questioned_summary(EDITORS), found)
    tables.show_editors(found)
    write_summary(settings, EDITORS, {})


def main() -> None:
    settings = questioning.parse(__doc__.splitlines()[0])
    ask = asked(settings)
    if not ask:
        return
    cases = settings.cases
    if SYMMETRY in ask:
        inputs = open_inputs(settings)
        question_symmetry(inputs)
        inputs = replace(inputs, source=cases, bags={}, facts={})
    else:
        inputs = with_model(settings, cases, {}, {})
    if EDITORS in ask:
        own = {name: one for name, one in inputs.identity.items() if name != "data_sha256"}
        of_cases = own | {"cases_sha256": sha256_of(cases)}  # they are no prompts of the stages
        question_editors(replace(inputs, identity=of_cases))


if __name__ == "__main__":
    program.run(main)
