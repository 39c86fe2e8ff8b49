#!/usr/bin/env bash
# Stage 8: the paper's figures and the report, from the files of stages 2 to 7.
#   bash 8_run_plot.sh [--output_dir DIR] [--output_prefix PREFIX] [--paper_look] [--beside FOLDER,...]
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 8 "$@"
