"""A Ray cluster for tests, in a process of its own; without Ray the tests that ask for it skip."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

ray = pytest.importorskip("ray", reason="Ray is not installed: pip install -e '.[cluster]'")

PROGRAM = """
import sys
from ray.cluster_utils import Cluster
node = {"num_cpus": int(sys.argv[1]), "object_store_memory": 100 << 20, "include_dashboard": False}
made = Cluster(initialize_head=True, head_node_args=node)
print(made.address, flush=True)
sys.stdin.read()
made.shutdown()
"""


@contextmanager
def cluster(cores: int) -> Iterator[str]:
    """The address of one node."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(cores)], **pipes) as process:
        yield process.stdout.readline().strip()
        process.stdin.close()
