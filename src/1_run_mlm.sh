#!/usr/bin/env bash
# Stage 1: attribution scores of one relation with the paper's settings.
#   bash 1_run_mlm.sh P101 [any flag of 1_analyze_mlm.py]      bash 1_run_mlm.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 1 "$@"
