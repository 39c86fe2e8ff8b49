#!/usr/bin/env bash
# Stage 3: suppress and amplify the neurons of every relation that has them.
#   bash 3_run_modify_activation.sh [any flag of 3_modify_activation.py]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 3 "$@"
