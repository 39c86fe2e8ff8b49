#!/usr/bin/env bash
# Stage 10: what critics ask of the neurons that stage 2 found.
#   bash 10_controls.sh [any flag of 10_question_neurons.py]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 10 "$@"
