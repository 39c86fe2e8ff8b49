"""pyproject.toml and env.yml pin the same versions.  Run: pytest tests/unit/test_pins.py"""

import re
import tomllib
from pathlib import Path

from knowledge_neurons.results.manifests import PINNED, environment

ROOT = Path(__file__).resolve().parents[2]


def test_conda_and_pip_install_the_same():
    """Every requirement is pinned exactly, and env.yml lists the same ones."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    conda = re.findall(r"^ +- (\S+==\S+)$", (ROOT / "env.yml").read_text(), re.MULTILINE)
    assert project["dependencies"] == conda
    pins = project["dependencies"] + [
        pin for extra in project["optional-dependencies"].values() for pin in extra
    ]
    assert all(re.fullmatch(r"[\w-]+==[\d.]+", pin) for pin in pins)


def test_extras_pin_the_same_versions():
    """What several extras ask for is one version; the tests have all that the models need."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    pins = {pin for extra in extras.values() for pin in extra}
    assert len({pin.split("==")[0] for pin in pins}) == len(pins)
    assert set(extras["models"]) <= set(extras["dev"])


def test_manifests_name_the_versions_of_pinned_packages():
    """What a manifest tells the versions of is pinned and installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = dict(pin.split("==") for pin in project["dependencies"])
    told = environment()
    assert set(PINNED) <= pinned.keys()
    assert all(told[name].split("+")[0] == pinned[name] for name in PINNED)
