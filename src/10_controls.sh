#!/usr/bin/env bash
# Stage 10: what critics ask of the neurons that stage 2 found, and of edits.
#   bash 10_controls.sh [--ask whose,localisation,stability,symmetry,editors]   --help lists all flags
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 10 "$@"
