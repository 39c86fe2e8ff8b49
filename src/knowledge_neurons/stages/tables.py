"""Small tables on the screen."""

from __future__ import annotations

from knowledge_neurons.stages import program


def show(title: str, rows: dict[str, object]) -> None:
    """Print a small aligned table under a title."""
    width = max(map(len, rows), default=0)
    print(program.printable(title))
    for name, value in rows.items():
        print(program.printable(f"  {name:<{width}}  {value}"))
