#!/usr/bin/env bash
# Stage 11: scorers compared, then what one prompt finds, on the same facts.
#   bash 11_compare_ways.sh [any flag of either script]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 11 "$@"
