"""How long the steps of a whole run took, and so how long the rest will take: RESULTS/run.json."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, TypedDict

from msgspec import Meta

from knowledge_neurons.results.json_files import write_json
from knowledge_neurons.results.manifests import read_json


@dataclass(frozen=True)
class Step:
    """One call of a stage.  work: in COST's seconds."""

    stage: int
    name: str
    command: list[str]
    work: float


class _Timed(TypedDict):
    """A step in RESULTS/run.json."""

    stage: Annotated[int, Meta(ge=1, le=10)]
    work: Annotated[float, Meta(gt=0, le=1e15)]
    seconds: Annotated[float, Meta(ge=0, le=1e15)]
    done: bool


class _Log(TypedDict):
    """RESULTS/run.json."""

    steps: dict[str, _Timed]


@dataclass
class Log:
    """The steps so far, over all runs, kept in RESULTS/run.json: stage, work, seconds, done."""

    path: Path
    steps: dict[str, _Timed] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> Log:
        advice = "Remove it, and the time left is estimated anew"
        return cls(path, read_json(path, _Log, advice)["steps"] if path.exists() else {})

    def is_done(self, step: Step) -> bool:
        """Whether a step of this name and work is; with more facts it is another one."""
        found = self.steps.get(step.name, {})
        return bool(found.get("done")) and found["work"] == step.work

    def add(self, step: Step, seconds: float, done: bool) -> None:
        """Note that a step ran so long; its seconds of earlier, interrupted runs count too."""
        if self.is_done(step):  # and the stage had nothing to do
            return
        earlier = self.steps.get(step.name, {})
        if earlier.get("work") == step.work:
            seconds += earlier["seconds"]
        self.steps[step.name] = {
            **{"stage": step.stage, "work": step.work},
            **{"seconds": round(seconds, 1), "done": done},
        }
        write_json(self.path, {"steps": self.steps}, readable=True)

    def pace(self, stage: int) -> float | None:
        """Seconds per unit of work: of this stage's steps, else of all; None before the first."""
        done = [step for step in self.steps.values() if step["done"]]
        own = [step for step in done if step["stage"] == stage] or done
        return sum(s["seconds"] for s in own) / sum(s["work"] for s in own) if own else None

    def seconds_left(self, steps: list[Step]) -> float | None:
        """Seconds left of the steps that are not done; None before any is."""
        left = [(step.work, self.pace(step.stage)) for step in steps if not self.is_done(step)]
        if any(pace is None for _, pace in left):
            return None
        return sum(work * pace for work, pace in left)
