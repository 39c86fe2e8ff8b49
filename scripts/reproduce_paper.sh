#!/usr/bin/env bash
# The whole paper: data, model, stages 1 to 10 over all 34 relations, with the paper's settings.
# What it will cost is said first; on a terminal it asks before more than an hour.  Stopped, the
# same command goes on.
#   bash scripts/reproduce_paper.sh [--from DIR] [--yes] [--relations P19,P36] [--max_facts N]
#                                   [--device cuda] [--bert_model NAME] [any flag of stage 1]
#       --from DIR        a local copy of the data, as for get_data.py
#       --yes             do not ask
#       --relations, --max_facts N      some relations, and of each the first N facts
#       --device, --bert_model          KN_DEVICE and KN_MODEL; a hub's name, a folder, an archive
#   python src/1_analyze_mlm.py --help lists the flags of stage 1, such as --exact and --dtype
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
source "$root/scripts/environment.sh"
tell_help "$@"
use_environment

source=() flags=() yes=
while (($#)); do
    case $1 in
        --from) source=(--from "${2:?--from needs a folder}"); shift ;;
        --yes) yes=--yes ;;
        *) flags+=("$1") ;;
    esac
    shift
done
[[ -n ${KN_DATA:-} ]] || python "$root/scripts/get_data.py" "${source[@]}"
calls=$(python "$root/scripts/run_stages.py" --calls "${flags[@]}")
python "$root/scripts/plan.py" "${flags[@]}" --calls <(echo "$calls") --ask $yes
exec python "$root/scripts/run_stages.py" "${flags[@]}"
