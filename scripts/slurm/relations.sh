#!/usr/bin/env bash
#SBATCH --job-name=knowledge-neurons
#SBATCH --array=0-33
#SBATCH --ntasks=1
# A Slurm array without Ray: stage 1 of one relation a task.
#   sbatch --gpus 1 scripts/slurm/relations.sh                 # the paper's 34 relations
#   sbatch --array 0-1 --cpus-per-task 8 scripts/slurm/relations.sh --relations P19,P36 [flags of stage 1]
# Submit from the repository's folder, which all nodes see, with its .venv.  When all tasks are done:
# bash scripts/reproduce_paper.sh does what is left.  A task that ran out of time goes on when it is
# submitted again.
set -euo pipefail
root=${SLURM_SUBMIT_DIR:?"to be submitted: sbatch scripts/slurm/relations.sh"}
[[ -f $root/.venv/bin/activate ]] || { echo "error: no .venv in $root; submit from the repository's folder" >&2; exit 2; }
# shellcheck source=/dev/null
source "$root/.venv/bin/activate"
if [[ ${1:-} == --relations ]]; then
    IFS=, read -ra relations <<< "${2:?"--relations needs names, such as P19,P36"}"
    shift 2
else
    data=${KN_DATA:-$root/data/PARAREL/data_all_allbags.json}
    [[ -f $data ]] || { echo "error: $data is not there; python scripts/get_data.py fetches it" >&2; exit 2; }
    mapfile -t relations < <(python -c 'import json, sys; print(*sorted(json.load(open(sys.argv[1]))), sep="\n")' "$data")
fi
task=${SLURM_ARRAY_TASK_ID:?"to be submitted as an array: sbatch --array 0-33 scripts/slurm/relations.sh"}
if ((task >= ${#relations[@]})); then
    echo "task $task has no relation: there are ${#relations[@]}; submit with --array 0-$((${#relations[@]} - 1))" >&2
    exit 2
fi
cd "$root/src"
OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1} exec bash 1_run_mlm.sh "${relations[task]}" "$@"
