"""Knowledge neurons in pretrained transformers: find them, test them, edit them.

    from knowledge_neurons import KnowledgeNeurons

    kn = KnowledgeNeurons.from_pretrained("bert-base-cased")
    neurons = kn.find(prompts, answer)

The method is Dai et al. 2022 (arXiv 2104.08696).  `api` is the face, the other modules the parts.
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from knowledge_neurons.api import KnowledgeNeurons

__all__ = ["KnowledgeNeurons"]
ROOT = Path(__file__).resolve().parents[2]  # of the repository


def __getattr__(name: str):
    """Import torch only for those who ask for the class: stage 2 needs none of it."""
    if name == "KnowledgeNeurons":
        from knowledge_neurons.api import KnowledgeNeurons

        return KnowledgeNeurons
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
