#!/usr/bin/env bash
#SBATCH --job-name=knowledge-neurons
#SBATCH --nodes=2
#SBATCH --ntasks-per-node=1
#SBATCH --exclusive
# One Slurm job: Ray on all its nodes, and a command of src/ on the first, with its workers on all.
#   sbatch --nodes 4 --gpus-per-node 4 scripts/slurm/ray.sh bash 1_run_mlm.sh P101
#   sbatch --nodes 4 --cpus-per-task 32 scripts/slurm/ray.sh python ../scripts/run_stages.py
# Submit from the repository's folder, which all nodes see, with its .venv (bash scripts/demo.sh makes
# it; pip install -e '.[cluster]' -c constraints.txt adds Ray).  The command gets `--ray ADDRESS`.
# Stopped or out of time, submit the same again: it goes on.
set -euo pipefail
(($#)) || { echo "usage: sbatch [--nodes N ...] scripts/slurm/ray.sh COMMAND, such as: bash 1_run_mlm.sh P101" >&2; exit 2; }
root=${SLURM_SUBMIT_DIR:?"to be submitted: sbatch scripts/slurm/ray.sh COMMAND"}
[[ -f $root/.venv/bin/activate ]] || { echo "error: no .venv in $root; submit from the repository's folder" >&2; exit 2; }
# shellcheck source=/dev/null
source "$root/.venv/bin/activate"
export RAY_USAGE_STATS_ENABLED=0
# Who joins or asks has to know this job's token; srun hands it to the nodes.
RAY_AUTH_TOKEN=$(python -c "import secrets; print(secrets.token_hex(32))")
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN

mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
port=$((20000 + SLURM_JOB_ID % 10000))
step=(srun --overlap --nodes=1 --ntasks=1)
ip=$("${step[@]}" --nodelist "${nodes[0]}" hostname --ip-address)
ip=${ip%% *}  # a node may have several
resources=(--num-cpus "${SLURM_CPUS_ON_NODE:-$(nproc)}")

started=()
stop() { ((${#started[@]})) && kill "${started[@]}" 2> /dev/null; wait; }
trap stop EXIT
# Ray's own word for how many nodes are there; five minutes are enough for any of them to start.
await() {
    python - "$ip:$port" "$1" << 'PYTHON'
import sys, time
import ray

address, wanted, found = sys.argv[1], int(sys.argv[2]), 0
for _ in range(150):
    try:
        ray.init(address, logging_level="ERROR", ignore_reinit_error=True)
        found = sum(node["Alive"] for node in ray.nodes())
    except ConnectionError:
        pass
    if found >= wanted:
        sys.exit(0)
    time.sleep(2)
sys.exit(f"error: {found} of {wanted} nodes joined Ray at {address} within five minutes; see above")
PYTHON
}
"${step[@]}" --nodelist "${nodes[0]}" ray start --head --block --disable-usage-stats \
    --include-dashboard=false --node-ip-address "$ip" --port "$port" "${resources[@]}" &
started+=($!)
await 1
for node in "${nodes[@]:1}"; do
    "${step[@]}" --nodelist "$node" ray start --block --disable-usage-stats \
        --address "$ip:$port" "${resources[@]}" &
    started+=($!)
done
await "${#nodes[@]}"

cd "$root/src"
"$@" --ray "$ip:$port"
