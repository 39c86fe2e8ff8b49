"""What pyproject.toml takes no names for: the stages, modules that begin with a digit.

They are installed beside the package, as they lie beside it in src/, for `kn stage` to import.
"""

from pathlib import Path

from setuptools import setup

setup(py_modules=sorted(path.stem for path in Path("src").glob("*.py")))
