#!/usr/bin/env bash
# One command, no network beyond the package install: all stages on the embedded model and
# sample -> results/demo/.  Run again, it goes on where it stopped; remove results/demo to start over.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
tell_help "$@"
use_environment

export KN_MODEL="$root/models/demo-bert"
export KN_DATA="$root/data/PARAREL/sample_allbags.json"
export KN_SENTENCES="$root/data/BINGREL/sample_distant_{}.json"
export KN_PAIRS="$root/data/PARAREL/sample_query_pairs.json"
export KN_RESULTS="$root/results/demo"
python "$root/scripts/run_stages.py" "$@"
echo "demo done: $KN_RESULTS/report.html"
