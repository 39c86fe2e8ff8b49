#!/usr/bin/env bash
# One command, no model hub: all stages on SmolLM2-135M-Instruct, a really pretrained language
# model, and facts that it knows -> results/smollm2/.  Stopped, the same command goes on; remove
# results/smollm2 to start over.  What it will cost is said first; on a terminal it asks before more
# than an hour.
#   bash scripts/real_model.sh [--model NAME] [--yes]
#       --model NAME   a hub's, a folder or a .gguf file, such as HuggingFaceTB/SmolLM2-135M-Instruct
#       --yes          do not ask
#       --calls        print the calls of stages and end
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/environment.sh"
tell_help "$@"
calls=(
    "known_facts.py --wordings 3 --per_relation 13"  # right in 3 of their 8 wordings or more
    "1_run_mlm.sh --tolerance 5e-3"                  # of every relation
    "2_run_kn.sh --held_out 4"
    "3_run_modify_activation.sh"
    "3_run_modify_activation.sh --relations P36 --scales 0,0.5,...,2"
    "4_run_distant.sh"
    "5_run_trigger_examples.sh"
    "6_run_edit.sh 1 8 --draw distinct --facts_per_relation 5 --save_patches"
    "7_run_erase.sh P36"
    "9_neuron_map.sh P36"
    "10_controls.sh --sample 3 --from ../data/COUNTERFACT/world_counterfact.json"
    "8_run_plot.sh"
)
model="" yes=""
while (($#)); do
    case $1 in
        --model) model=${2:?"--model needs a name, a folder or a .gguf file"}; shift ;;
        --yes) yes=--yes ;;
        --calls) printf '%s\n' "${calls[@]}"; exit ;;
        *) echo "error: $1 is not known; --help lists all flags" >&2; exit 2 ;;
    esac
    shift
done
[[ ! -e $model ]] || model=$(realpath "$model")  # stages run in src/
echo "about 40 minutes on 2 cores, 2 GiB of memory, 1.2 GB of disk (with 93 MB to fetch)"
use_environment models

export KN_MODEL=${model:-$root/models/smollm2} KN_RESULTS=$root/results/smollm2 KN_WHOLE_RUN=1
world=$root/data/WORLD/world
asked=(--data_path "${world}_allbags.json" --sentences "${world}_distant_{}.json")
python "$root/scripts/plan.py" "${asked[@]}" --max_facts 13 \
    --calls <(printf '%s\n' "${calls[@]}") --ask $yes
[[ -n $model ]] || python "$root/scripts/get_smollm2.py"
facts=$KN_RESULTS/data
[[ -f $facts/known.json ]] || python "$root/scripts/"${calls[0]} \
    "${asked[@]}" --pairs "${world}_query_pairs.json" --output "$facts"
export KN_DATA=$facts/allbags.json KN_PAIRS=$facts/query_pairs.json
export KN_SENTENCES=$facts/distant_{}.json

cd "$root/src"
read -r first flags <<< "${calls[1]}"
for file in "$facts"/distant_*.json; do
    relation=${file##*_}
    # shellcheck disable=SC2086  # words of calls are split on purpose
    bash "$first" "${relation%.json}" $flags
done
for call in "${calls[@]:2}"; do
    # shellcheck disable=SC2086
    bash $call
done
echo "done: $KN_RESULTS/report.html"
