"""The stages by number: their scripts, in order, with the paper's settings.

`kn stage 1 P36` and `bash 1_run_mlm.sh P36` both come here.  The scripts are modules beside this
package, in src/ as in site-packages.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from knowledge_neurons.stages import program

WHOLE_RUN = "KN_WHOLE_RUN"  # set where scripts/run_stages.py says what comes next


@dataclass(frozen=True)
class Stage:
    """A stage: what the shell calls it, its scripts, and what it does.

    named: its first arguments -> the flags that they stand for; example: of them.  settings: flags
    that are always given.  then: what is run after it, which its end names.
    """

    shell: str
    scripts: Sequence[str]
    does: str
    named: Mapping[str, str] = field(default_factory=dict)
    example: str = ""
    settings: Sequence[str] = ()
    then: str = ""

    def arguments(self, called: str, given: Sequence[str]) -> list[str]:
        """The scripts' arguments; ValueError shows the usage where the first ones are missing."""
        if given and given[0].startswith("-"):
            return [*self.settings, *given]
        if len(given) < len(self.named):
            names = " ".join(self.named)
            raise ValueError(
                f"usage: bash {self.shell} {names} [flags], or {called} {names} [flags], "
                f"for example {self.example}"
            )
        first = [part for pair in zip(self.named.values(), given, strict=False) for part in pair]
        return [*self.settings, *first, *given[len(self.named) :]]


STAGES = {
    1: Stage(
        "1_run_mlm.sh",
        scripts=("1_analyze_mlm",),
        does="attribution scores of one relation",
        named={"RELATION": "--pt_relation"},
        example="P101",
        settings=("--get_ig_gold", "--get_base"),
        then="2_run_kn.sh, once all relations have scores",
    ),
    2: Stage(
        "2_run_kn.sh",
        scripts=("2_get_kn", "2_analyze_kn"),
        does="knowledge neurons of every relation that has scores, and their statistics",
        then="3_run_modify_activation.sh",
    ),
    3: Stage(
        "3_run_modify_activation.sh",
        scripts=("3_modify_activation",),
        does="suppress and amplify the neurons of every relation that has them",
        then="4_run_distant.sh",
    ),
    4: Stage(
        "4_run_distant.sh",
        scripts=("4_check_weights_distant",),
        does="the neurons' activation on web sentences",
        then="5_run_trigger_examples.sh",
    ),
    5: Stage(
        "5_run_trigger_examples.sh",
        scripts=("5_find_trigger_examples",),
        does="web sentences, ranked by how much they activate a fact's neurons",
        then="6_run_edit.sh 1 8",
    ),
    6: Stage(
        "6_run_edit.sh",
        scripts=("6_edit_knowledge_sampled",),
        does="edit facts of every relation that has neurons",
        named={"LAMBDA1": "--lambda_1", "LAMBDA2": "--lambda_2"},
        example="1 8",
        then="7_run_erase.sh REL",
    ),
    7: Stage(
        "7_run_erase.sh",
        scripts=("7_erase_knowledge",),
        does="erase one relation",
        named={"RELATION": "--relation"},
        example="P19",
        then="9_neuron_map.sh REL, 10_controls.sh, or 8_run_plot.sh",
    ),
    8: Stage(
        "8_run_plot.sh",
        scripts=("8_plot_figures", "8_plot_report"),
        does="figures and the report, from the files of the other stages",
    ),
    9: Stage(
        "9_neuron_map.sh",
        scripts=("9_map_neurons",),
        does="which neurons of lower layers drive those of a relation's facts",
        named={"RELATION": "--relations"},
        example="P36",
        then="10_controls.sh, or 8_run_plot.sh",
    ),
    10: Stage(
        "10_controls.sh",
        scripts=("10_question_neurons", "10_question_edits"),
        does="what critics ask of neurons (whose, wordings, thresholds) and of edits",
        then="8_run_plot.sh",
    ),
    11: Stage(
        "11_compare_ways.sh",
        scripts=("11_compare_scorers", "11_study_one_prompt"),
        does="scorers compared, and what one prompt finds, on facts that the model knows",
        then="8_run_plot.sh",
    ),
}
ACROSS = Stage(
    "2_run_languages.sh",
    scripts=("2_compare_languages",),
    does="neurons of a fact that languages share, after stages 1 and 2 of each",
)


def run(called: str, stage: Stage, given: Sequence[str]) -> None:
    """Run a stage as its scripts are run: with its arguments in place of this process's.

    called: what the user calls it, "kn stage 1".
    Ends the process, with its message, where they are wrong or it fails.
    """
    try:
        arguments = stage.arguments(called, given)
    except ValueError as error:
        program.fail(str(error))  # before torch is imported
    mains = [importlib.import_module(script).main for script in stage.scripts]

    def run_all() -> None:
        sys.argv = [called, *arguments]
        for main in mains:
            main()
        if stage.then and not os.environ.get(WHOLE_RUN):
            print(f"next: bash {stage.then}")

    program.run(run_all)
