# Sourced by demo.sh and test.sh: the pinned environment in .venv at the root, made when missing.
#   use_environment [EXTRA]      EXTRA: "dev" adds the tests' tools and oracles
# KN_PYTHON chooses the interpreter that makes it (default: python3; 3.11 to 3.13).

use_environment() {
    local extra=${1:-} stamp
    stamp="$root/.venv/.installed${extra:+-$extra}"
    if [[ ! -x $root/.venv/bin/python ]]; then
        echo "making the environment in .venv"
        "${KN_PYTHON:-python3}" -m venv "$root/.venv"
    fi
    # shellcheck source=/dev/null
    source "$root/.venv/bin/activate"
    if [[ ! -f $stamp || $root/pyproject.toml -nt $stamp ]]; then
        echo "installing the pinned requirements (once; a few minutes)"
        python -m pip install --quiet --disable-pip-version-check --editable "$root${extra:+[$extra]}"
        touch "$stamp"
    fi
}
