# shellcheck shell=bash disable=SC2154  # root: of who sources it
# Sourced by the scripts beside it: the environment of constraints.txt in .venv at the root, made when
# missing.
#   use_environment [EXTRA]      EXTRA: "dev" adds the tests' tools and oracles
# KN_PYTHON chooses the interpreter that makes it (default: python3; 3.11 to 3.13).

use_environment() {
    local extra=${1:-} python=${KN_PYTHON:-python3} stamp
    stamp="$root/.venv/.installed${extra:+-$extra}"
    if [[ ! -f $root/.venv/bin/activate ]]; then
        "$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || {
            echo "error: $python is not Python 3.11, 3.12 or 3.13; set KN_PYTHON to one" >&2
            return 1
        }
        echo "making the environment in .venv"
        "$python" -m venv "$root/.venv" || {
            rm -rf "$root/.venv"
            echo "error: $python cannot make environments; install its venv package" >&2
            return 1
        }
    fi
    # shellcheck source=/dev/null
    source "$root/.venv/bin/activate"
    if [[ ! -f $stamp || $root/pyproject.toml -nt $stamp || $root/constraints.txt -nt $stamp ]]; then
        echo "installing the pinned requirements (once; a few minutes)"
        python -m pip install --quiet --disable-pip-version-check \
            --constraint "$root/constraints.txt" --editable "$root${extra:+[$extra]}" || return 1
        touch "$stamp"
    fi
}

# Where --help is among a script's arguments, print the comment at its head and end.
#   tell_help "$@"
tell_help() {
    local word
    for word in "$@"; do
        [[ $word == --help || $word == -h ]] || continue
        sed -n '2,/^[^#]/s/^# \{0,1\}//p' "${BASH_SOURCE[1]}"
        exit
    done
}

# A Chromium for the tests of the report: KN_CHROMIUM, one on PATH, else Debian's, where this user may
# install it.  Without one those tests skip; a line says so.
use_browser() {
    local name
    [[ -n ${KN_CHROMIUM:-} ]] && return
    for name in chromium chromium-browser google-chrome google-chrome-stable; do
        command -v "$name" > /dev/null && return
    done
    if [[ $EUID == 0 ]] && command -v apt-get > /dev/null; then
        echo "installing Chromium for the tests of the report (once; half a minute)"
        { apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium; } \
            > /dev/null 2>&1 && return
    fi
    echo "no Chromium on PATH and none can be installed: the tests of the report in a browser skip"
}
