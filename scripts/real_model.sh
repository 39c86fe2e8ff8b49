#!/usr/bin/env bash
# One command, no model hub: stages 1 to 8 on SmolLM2-135M-Instruct, a really pretrained language
# model, and facts that it knows -> results/smollm2/.  Stopped, the same command goes on; remove
# results/smollm2 to start over.
#   bash scripts/real_model.sh [--model NAME]      NAME: a hub's, a folder or a .gguf file, such as
#                                                  HuggingFaceTB/SmolLM2-135M-Instruct
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
case ${1:-} in
    "") model= ;;
    --model) model=${2:?"--model needs a name, a folder or a .gguf file"} ;;
    *) sed -n '2,6s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"; exit "$([[ $1 == --help ]] && echo 0 || echo 2)" ;;
esac
[[ ! -e $model ]] || model=$(realpath "$model")  # stages run in src/
echo "about 21 minutes on 2 quiet cores, 2 GiB of memory, 1.2 GB of disk (with 93 MB to fetch)"
source "$root/scripts/environment.sh"
use_environment models

[[ -n $model ]] || python "$root/scripts/get_smollm2.py"
export KN_MODEL=${model:-$root/models/smollm2}
export KN_RESULTS=$root/results/smollm2
facts=$KN_RESULTS/data

# The facts it knows: right in 3 of their 8 wordings or more; 13 of each relation.
[[ -f $facts/known.json ]] || python "$root/scripts/known_facts.py" \
    --data_path "$root/data/WORLD/world_allbags.json" \
    --pairs "$root/data/WORLD/world_query_pairs.json" \
    --sentences "$root/data/WORLD/world_distant_{}.json" \
    --wordings 3 --per_relation 13 --output "$facts"
export KN_DATA=$facts/allbags.json KN_PAIRS=$facts/query_pairs.json
export KN_SENTENCES=$facts/distant_{}.json

cd "$root/src"
for file in "$facts"/distant_*.json; do
    relation=${file##*_}
    bash 1_run_mlm.sh "${relation%.json}" --tolerance 5e-3
done
bash 2_run_kn.sh --held_out 4
bash 3_run_modify_activation.sh --controls
bash 3_run_modify_activation.sh --relations P36 --scales 0,0.5,...,2
bash 4_run_distant.sh
bash 5_run_trigger_examples.sh
bash 6_run_edit.sh 1 8 --draw distinct --facts_per_relation 5 --save_patches
bash 7_run_erase.sh P36
bash 8_run_plot.sh
echo "done: $KN_RESULTS/report.html"
