#!/usr/bin/env bash
# Stage 9: which neurons of lower layers drive the neurons of a relation's facts.
#   bash 9_neuron_map.sh P36 [any flag of 9_map_neurons.py]      --help lists them
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
exec python "$here/knowledge_neurons_lab.py" stage 9 "$@"
