#!/usr/bin/env bash
# Stage 6: edit facts of every relation that has knowledge neurons; the paper's lambdas are 1 and 8.
#   bash 6_run_edit.sh 1 8 [any flag of 6_edit_knowledge_sampled.py]      bash 6_run_edit.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
usage="usage: bash 6_run_edit.sh LAMBDA1 LAMBDA2 [flags], for example 1 8"
first=${1:?$usage}
if [[ $first != -* ]]; then
    second=${2:?$usage}
    shift 2
    set -- --lambda_1 "$first" --lambda_2 "$second" "$@"
fi
exec python "$here/6_edit_knowledge_sampled.py" "$@"
