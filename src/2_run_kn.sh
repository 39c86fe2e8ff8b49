#!/usr/bin/env bash
# Stage 2: knowledge neurons of every relation that has scores, then their statistics.
#   bash 2_run_kn.sh [any flag of 2_get_kn.py]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 2 "$@"
