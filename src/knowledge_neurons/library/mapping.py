"""How the neurons of a fact feed each other."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from knowledge_neurons.experiments import neuron_maps
from knowledge_neurons.library.model import Model, own_fact
from knowledge_neurons.library.shown import Shown, Table
from knowledge_neurons.results.maps import MapRecord, Validation, validation_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, repr=False)
class Map(Shown):
    """A fact's neurons, what drives each of them, and whether switching drivers off bears it out.

    record: nodes with their edges, and every change predicted and measured.
    """

    record: MapRecord
    layers: int

    @property
    def validation(self) -> Validation:
        """Predicted against measured, over all edges."""
        return validation_of([self.record])

    def tables(self) -> list[Table]:
        """A row an edge, strongest first within each neuron."""
        rows = [
            (node.neuron.layer, node.neuron.index, layer, index, score, score / node.activation)
            for node in self.record.nodes
            for layer, index, score in node.edges
            if node.activation
        ]
        names = ("layer", "neuron", "from layer", "from neuron", "adds", "of its activation")
        columns = dict(zip(names, zip(*rows, strict=True) if rows else [()] * 6, strict=True))
        wordings = self.record.wordings
        title = f"what drives the neurons of {self.record.answer!r} (mean of {wordings} wordings)"
        return [Table(title, columns, {"adds": "+.3g", "of its activation": "+.1%"})]

    def notes(self) -> list[str]:
        """How much of the mass the edges hold, and the validation."""
        said = [
            f"neuron {node.neuron.index} of layer {node.neuron.layer}: these hold {node.share:.0%} "
            f"of all scores, {node.half} drivers would hold half"
            for node in self.record.nodes
            if node.edges
        ]
        found = self.validation
        edges, upper = found.edges, found.upper
        if edges.r is not None:
            without = "" if upper.r is None else f" ({upper.r:.2f} without layer 0)"
            said.append(
                f"switched off one by one, {edges.count} drivers: predicted against measured r = "
                f"{edges.r:.2f}{without}, slope {edges.slope:.2f}, sign right in {edges.sign:.0%}"
            )
        if found.taken is not None and found.taken_by_random is not None:
            said.append(
                f"off at once, all that add to a neuron take {found.taken:.0%} of its activation "
                f"(median), as many random neurons {found.taken_by_random:.1%}"
            )
        return said

    def plot(self, ax: Axes | None = None) -> Axes:
        """Layers upwards, edges by weight and sign: see `figures.of_neurons.neuron_map`."""
        from knowledge_neurons.figures import of_neurons  # matplotlib takes a second to import

        return of_neurons.neuron_map(self.record, self.layers, ax)


class MappingNeurons(Model):
    """Maps of a fact's neurons."""

    def map(
        self,
        prompts: Sequence[str],
        answer: str,
        neurons: Iterable[Sequence[int]],
        edges: int = neuron_maps.EDGES,
        wordings: int = neuron_maps.WORDINGS,
        lowest: int | None = None,
        seed: int = 0,
    ) -> Map:
        """For each of the neurons those of lower layers that drive it, and a test of it.

        neurons: of the fact, as `find` gives them; of an answer of several tokens they are driven
        towards its first.  edges: of each neuron, the strongest.
        wordings: how many of the prompts are averaged.  lowest: the first layer that may drive;
        None for the first that is scored.  seed: of the random neurons beside.
        """
        settings = neuron_maps.settings_for(self.model, edges, wordings, lowest)
        encoded, fact = self._encode(prompts, answer), own_fact(prompts, answer)
        chosen = list(dict.fromkeys(self._neurons(neurons)))
        if not chosen:
            raise ValueError("expected at least one neuron to map")
        record = neuron_maps.map_fact(self.model, fact, encoded, chosen, settings, seed)
        return Map(record, self.model.shape.layers)
