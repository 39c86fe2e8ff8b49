#!/usr/bin/env bash
# Stage 2 across languages: which neurons of a fact they share, after stages 1 and 2 of each.
#   bash 2_run_languages.sh --across en,fr,de [any flag of 2_compare_languages.py]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" languages "$@"
