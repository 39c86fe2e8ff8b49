#!/usr/bin/env bash
# Stage 7: erase one relation and read every prompt before and after.
#   bash 7_run_erase.sh P19 [any flag of 7_erase_knowledge.py]      bash 7_run_erase.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
relation=${1:?"usage: bash 7_run_erase.sh RELATION [flags], for example P19"}
[[ $relation == -* ]] || set -- --relation "$@"
exec python "$here/7_erase_knowledge.py" "$@"
