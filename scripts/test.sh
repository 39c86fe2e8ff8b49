#!/usr/bin/env bash
# One command: lint and every test.  Arguments go to pytest: bash scripts/test.sh tests/unit -k refine
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
# shellcheck source=scripts/environment.sh
source "$root/scripts/environment.sh"
tell_help "$@"
use_environment dev
use_browser

ruff check .
ruff format --check .
python -m pytest "$@"
