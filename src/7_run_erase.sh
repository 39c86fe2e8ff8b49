#!/usr/bin/env bash
# Stage 7: erase one relation and read every prompt before and after.
#   bash 7_run_erase.sh P19 [any flag of 7_erase_knowledge.py]      bash 7_run_erase.sh --help
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 7 "$@"
