#!/usr/bin/env bash
# One command, no network beyond the package install: stages 1 to 7 on the embedded model and
# sample -> results/demo/.  Run again, it goes on where it stopped; remove results/demo to start over.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/environment.sh"
use_environment

export KN_MODEL="$root/models/demo-bert"
export KN_DATA="$root/data/PARAREL/sample_allbags.json"
export KN_SENTENCES="$root/data/BINGREL/sample_distant_{}.json"
export KN_PAIRS="$root/data/PARAREL/sample_query_pairs.json"
export KN_RESULTS="$root/results/demo"
relations="P19 P20 P27 P30 P36 P37 P101 P103 P106 P176 P178 P740 P937 P1303"

started=$SECONDS
for relation in $relations; do
    bash "$root/src/1_run_mlm.sh" "$relation" "$@"
done
bash "$root/src/2_run_kn.sh"
bash "$root/src/3_run_modify_activation.sh"
bash "$root/src/4_run_distant.sh"
bash "$root/src/5_run_trigger_examples.sh"
bash "$root/src/6_run_edit.sh" 1 8 --save_patches
bash "$root/src/6_run_edit.sh" 1 8 --top_k 1,2,3,4,5,6,7,8,9,10
for relation in P19 P27 P106 P937; do
    bash "$root/src/7_run_erase.sh" "$relation"
done
echo "demo done in $((SECONDS - started)) s: $KN_RESULTS"
