#!/usr/bin/env bash
# Stage 5: the web sentences of every fact, ranked by how much they activate its neurons.
#   bash 5_run_trigger_examples.sh [any flag of 5_find_trigger_examples.py]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 5 "$@"
