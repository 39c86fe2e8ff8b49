#!/usr/bin/env bash
# Stage 4: the neurons' activation on web sentences, for every relation that has neurons.
#   bash 4_run_distant.sh [any flag of 4_check_weights_distant.py]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 4 "$@"
