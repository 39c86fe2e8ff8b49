"""What stands beside the package `knowledge_neurons`, where no package of that name overwrites it.

EleutherAI's distribution knowledge-neurons installs a package of the same name into the same
folder, so that files of both are mixed, whichever came last.  `check` says so: the package asks it
before all else, and so does the command `kn`, which begins here.
"""

from __future__ import annotations

import sys
from importlib import metadata, util

NAME, THEIRS = "knowledge-neurons-lab", "knowledge-neurons"
MEND = f"Run: pip uninstall {THEIRS} {NAME}, and then install {NAME} again"


def check() -> None:
    """ImportError where EleutherAI's distribution is installed too, or took files of ours along."""
    try:
        there = f"{THEIRS} {metadata.version(THEIRS)}"
    except metadata.PackageNotFoundError:
        package = util.find_spec("knowledge_neurons")
        if package is None or package.origin is None:
            raise ImportError(
                f"the package knowledge_neurons has lost its __init__.py, as after pip uninstall "
                f"{THEIRS}.  {MEND}"
            ) from None
        return
    raise ImportError(
        f"{there} (EleutherAI's) is installed beside {NAME}, and both install a package called "
        f"knowledge_neurons: their files are mixed.  {MEND}"
    )


def main() -> None:
    """The command `kn`; see `knowledge_neurons.stages.command`."""
    try:
        check()
    except ImportError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    from knowledge_neurons.stages import command

    command.main()


if __name__ == "__main__":
    main()
