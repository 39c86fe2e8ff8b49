"""What the package asks for at least, and what is installed here.

Run: pytest tests/unit/test_pins.py
"""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from knowledge_neurons import __version__
from knowledge_neurons.results.manifests import PINNED, environment

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
LINES = (ROOT / "constraints.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in LINES if line and not line.startswith("#"))


def asked() -> list[Requirement]:
    """Every requirement of the package and of its extras, but for the package itself."""
    lines = [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]
    requirements = map(Requirement, lines)
    return [one for one in requirements if one.name != PROJECT["name"]]


@pytest.mark.parametrize("one", asked(), ids=lambda one: one.name)
def test_a_lower_bound_in_the_package_and_an_exact_pin_beside_it(one):
    """Nothing is pinned for those who install the package; the pin is one that it accepts."""
    assert [part.operator for part in one.specifier] == [">="]
    assert re.fullmatch(r"\d+(\.\d+)+", PINS[one.name])
    assert PINS[one.name] in one.specifier


def test_nothing_else_is_pinned_and_nothing_twice():
    assert set(PINS) == {one.name for one in asked()}
    assert len(PINS) == sum("==" in line for line in LINES)


def test_conda_installs_the_package_itself_with_the_same_pins():
    conda = re.findall(r"^ +- (-.*)$", (ROOT / "env.yml").read_text(), re.MULTILINE)
    assert conda == ["-c constraints.txt", "-e ."]


def test_manifests_name_the_versions_of_pinned_packages():
    """What a manifest tells the versions of is pinned and installed; and the package's own."""
    required = {Requirement(line).name for line in PROJECT["dependencies"]}
    told = environment()
    assert set(PINNED) <= required
    assert all(told[name].split("+")[0] == PINS[name] for name in PINNED)
    assert told[PROJECT["name"]] == __version__
