#!/usr/bin/env bash
# The whole paper: data, model, stages 1 to 8 over all 34 relations, with the paper's settings.
#   bash scripts/reproduce_paper.sh [--from DIR] [--relations P19,P36] [--max_facts N]
#                                   [--device cuda] [--bert_model NAME] [any flag of stage 1]
# --from: a local copy of the data, as for get_data.py.  Stopped, the same command goes on.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/environment.sh"
use_environment

source=() flags=()
while (($#)); do
    case $1 in
        --from) source=(--from "${2:?--from needs a folder}"); shift ;;
        *) flags+=("$1") ;;
    esac
    shift
done
[[ -n ${KN_DATA:-} ]] || python "$root/scripts/get_data.py" "${source[@]}"
exec python "$root/scripts/run_stages.py" "${flags[@]}"
