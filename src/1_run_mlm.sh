#!/usr/bin/env bash
# Stage 1: attribution scores of one relation with the paper's settings.
#   bash 1_run_mlm.sh P101 [any flag of 1_analyze_mlm.py]      bash 1_run_mlm.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
relation=${1:?"usage: bash 1_run_mlm.sh RELATION [flags], for example P101"}
[[ $relation == -* ]] || set -- --pt_relation "$@"
exec python "$here/1_analyze_mlm.py" --get_ig_gold --get_base "$@"
