"""Ten seconds of the real engine on a random model of the shape asked for, cut to a few layers.

Each kind of work is timed at two depths; what it takes grows with the operations of the layers
(`operations`), so two times give what a prompt takes besides, and the rate that the layers reach
here, small operations and Python included.  Both go up to the full depth.  A time is the least of
a few, in turns, for another program on the machine only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch

from knowledge_neurons.attribution import fact_scores
from knowledge_neurons.attribution.settings import layers_of
from knowledge_neurons.networks import operations, shapes
from knowledge_neurons.networks.interface import Network
from knowledge_neurons.planning import tried
from knowledge_neurons.planning.survey import Survey, random_prompts
from knowledge_neurons.planning.tried import Facts, Timed
from knowledge_neurons.planning.work import edited_layer
from knowledge_neurons.types import Prompt

DEEPEST, FEW, MANY = 4, 3, 8  # layers of the trial's model; points of a layer, at two numbers
ROUNDS, LONGEST = 4, 8.0  # of measuring, as many as end in so many seconds
A_RUN = 0.25  # seconds that a run may take, about, but for
FEWEST = 64  # tokens, fewer of which do not show how fast products are
ALIKE, FEW_FACTS = 64, 8  # prompts of one length; facts that are read a few together
OWN_LAYERS = 1 << 30  # bytes of weights up to which each layer of the trial's model has its own
# Largest error of a score as a share of its prompt's largest, where measured: bfloat16 by
# benchmarks/attribution.py; tf32 has three binary digits more.
ERRORS = {"bfloat16": 1.2e-2, "tf32": 1.5e-3}


@dataclass(frozen=True)
class Rates:
    """Seconds here, of the model at its full depth.

    point: one point of a prompt's paths in every layer that is scored by default; scored: the rest
    of a prompt's scores; read: a prompt, among a few; together: among as many as a batch takes;
    edited: one without its edits, edit: one of these; sentence: one.
    start: of a program up to its work, without the model; load: of the model; tokenise: a prompt.
    by_dtype: of stage 1's time, what it takes with products in other formats than float32.
    peak: operations a second of a large product.
    """

    point: float
    scored: float
    read: float
    together: float
    edited: float
    edit: float
    sentence: float
    start: float
    load: float
    tokenise: float
    by_dtype: dict[str, float]
    peak: float


@dataclass(frozen=True)
class Line:
    """seconds = fixed + each * work."""

    fixed: float
    each: float

    @classmethod
    def through(cls, work: Sequence[float], seconds: Sequence[float]) -> Line:
        """Through one point, or two; neither part below zero."""
        (a, *more), (s, *later) = work, seconds
        if not more or more[0] <= a:
            return cls(0.0, s / a) if a else cls(s, 0.0)
        each = min(max((later[0] - s) / (more[0] - a), 0.0), later[0] / more[0])
        return cls(max(later[0] - each * more[0], 0.0), each)

    def at(self, work: float) -> float:
        return self.fixed + self.each * work


def rates(
    network: Network,
    survey: Survey,
    device: torch.device,
    start: float,
    dtype: torch.dtype = torch.float32,
    clock: Callable[[], float] = time.perf_counter,
) -> Rates:
    """Measure.

    network: on the meta device.  start: seconds that a program of this kind takes to begin.
    dtype: that the weights are kept in.  clock: whose seconds.
    """
    trial = _Trial(network, survey, device, dtype, clock)
    trial.run()
    return replace(trial.found(), start=start + survey.read, tokenise=survey.encode)


class _Trial:
    """What is timed, at two depths."""

    def __init__(
        self,
        network: Network,
        survey: Survey,
        device: torch.device,
        dtype: torch.dtype,
        clock: Callable[[], float],
    ):
        self.network, self.survey, self.device, self.clock = network, survey, device, clock
        deepest = min(DEEPEST, network.shape.layers)
        shared = 4 * shapes.parameters(network) * deepest / network.shape.layers > OWN_LAYERS
        if shared:
            deepest = min(2, network.shape.layers)
        model = shapes.cut(network, deepest, device, dtype, shared)
        self.depths = sorted({max(1, deepest // 2), deepest})
        self.models = [shapes.lower(model, depth) for depth in self.depths]
        self.peak = tried.product_rate(device, clock)
        self.tokens = max(1, round(survey.tokens))
        self.length = max(1, round(survey.of_sentence))
        self.works: dict[str, list[Timed]] = {}
        self.counts: dict[str, int] = {}
        self.seconds: dict[str, list[float]] = {}
        self._prepare()

    def _prepare(self) -> None:
        deepest, tokens, layers = self.models[-1], self.tokens, self.depths[-1]
        pass_ = operations.reading(deepest, tokens)
        points = operations.scores(deepest, tokens, [float(MANY)] * layers)
        size = fact_scores.group_size(self.network, self.device)
        facts = self._some(size, points)
        for n in (FEW, MANY):
            self._add(f"score {n}", facts, lambda model, n=n: tried.scoring(model, facts, n))
        read = self._some(FEW_FACTS, 3 * pass_, FEWEST)
        self._add("read", read, lambda model: tried.reading(model, read))
        fact, alike = self.survey.facts[0], self._alike(tokens, 3 * pass_)
        self._add("together", [(fact, alike)], lambda model: tried.reading(model, [(fact, alike)]))
        asked = [(fact, self._alike(tokens, 5 * pass_))]
        self._add("edit", asked, lambda model: tried.editing(model, asked))
        texts = self._alike(self.length, operations.reading(deepest, self.length))
        self.works["sentence"] = [tried.sentences(model, texts) for model in self.models]
        self.counts["sentence"] = len(texts)
        for name, model in self._other_dtypes():
            self.works[name] = [tried.scoring(model, facts, MANY)]
            self.counts[name] = self.counts[f"score {MANY}"]

    def _alike(self, tokens: int, each: float) -> list[Prompt]:
        """Prompts of one length, which make one batch, as many as A_RUN has time for."""
        count = min(ALIKE, max(-(-FEWEST // tokens), int(self.peak * A_RUN / each)))
        return random_prompts(tokens, count, self.network.shape.vocabulary)

    def _some(self, facts: int, each: float, tokens: int = 1) -> Facts:
        """As many facts as are worked on together, or as A_RUN has time for at `each` a prompt.

        tokens: that there are in any case.
        """
        room = max(-(-tokens // self.tokens), int(self.peak * A_RUN / each))
        vocabulary = self.network.shape.vocabulary
        taken: Facts = []
        for fact, prompts in zip(self.survey.facts, self.survey.encoded, strict=True):
            if len(taken) == facts or room < 1:
                break
            own = [tried.within(prompt, vocabulary) for prompt in prompts[:room]]
            room -= len(own)
            if own:
                taken.append((fact, own))
        return taken

    def _add(
        self,
        name: str,
        facts: Facts,
        work: Callable[[Network], Timed],
    ) -> None:
        self.works[name] = [work(model) for model in self.models]
        self.counts[name] = sum(len(own) for _, own in facts)

    def _other_dtypes(self) -> list[tuple[str, Network]]:
        found = [("bfloat16", self.models[-1].products_in(torch.bfloat16))]
        if self.device.type == "cuda":
            found.append(("tf32", self.models[-1]))
        return found

    # --- the clock ---

    def run(self) -> None:
        """Every work once to warm up, then in turns; the least of the times is kept.

        Work so large that there is no second turn needs no warming.
        """
        began = time.perf_counter()
        for turn in range(1 + ROUNDS):
            spent = time.perf_counter() - began
            if turn and spent * (turn + 1) / turn > LONGEST:
                break
            for name, works in self.works.items():
                torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
                took = [self._time(work) for work in works]
                best = self.seconds.get(name, took) if turn > 1 else took
                self.seconds[name] = [min(pair) for pair in zip(best, took, strict=True)]
        torch.backends.cuda.matmul.allow_tf32 = False

    def _time(self, work: Timed) -> float:
        started = self.clock()
        work()
        return self.clock() - started

    # --- what it says ---

    def found(self) -> Rates:
        """The seconds at full depth."""
        each = {
            name: [one / self.counts[name] for one in times] for name, times in self.seconds.items()
        }
        few, many = each[f"score {FEW}"], each[f"score {MANY}"]
        slopes = [max(b - a, 0.0) / (MANY - FEW) for a, b in zip(few, many, strict=True)]
        rest = [max(a - FEW * slope, 0.0) for a, slope in zip(few, slopes, strict=True)]
        point = self._deep(slopes, self._point_operations)
        point = max(
            point, self._point_operations(self.network) / self.peak
        )  # a difference of times
        edited = self._deep(each["edit"], self._edited_operations)
        read, together, scored = (
            self._deep(times, lambda model: operations.reading(model, self.tokens))
            for times in (each["read"], each["together"], rest)
        )
        sentence = self._deep(
            each["sentence"], lambda model: operations.reading(model, self.length)
        )
        by_dtype = {
            name: each[name][-1] / many[-1] for name in ("bfloat16", "tf32") if name in each
        }
        return Rates(
            point=point,
            scored=scored,
            read=read,
            together=together,
            edited=min(together, edited),
            edit=max(edited - together, 0.0) / tried.EDITS,
            sentence=sentence,
            start=0.0,
            load=tried.load(self.network, self.clock),
            tokenise=0.0,
            by_dtype=by_dtype,
            peak=self.peak,
        )

    def _deep(self, seconds: Sequence[float], work: Callable[[Network], float]) -> float:
        """Seconds at full depth from those at the depths tried."""
        return Line.through([work(model) for model in self.models], seconds).at(work(self.network))

    def _point_operations(self, model: Network) -> float:
        scored = layers_of(model, None)
        return sum(operations.point(model, self.tokens, layer) for layer in scored)

    def _edited_operations(self, model: Network) -> float:
        row = operations.edit(model, self.tokens, edited_layer(model))
        return operations.reading(model, self.tokens) + tried.EDITS * row
