#!/usr/bin/env bash
# Stage 6: edit facts of every relation that has knowledge neurons; the paper's lambdas are 1 and 8.
#   bash 6_run_edit.sh 1 8 [any flag of 6_edit_knowledge_sampled.py]      bash 6_run_edit.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 6 "$@"
