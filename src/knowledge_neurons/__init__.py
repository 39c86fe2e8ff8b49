"""Knowledge neurons in pretrained transformers: find them, test them, edit them.

    from knowledge_neurons import KnowledgeNeurons

    kn = KnowledgeNeurons.from_pretrained("bert-base-cased")
    neurons = kn.find(prompts, answer)

The method is Dai et al. 2022 (arXiv 2104.08696).  `api` is the face, the other modules the parts;
`compat` has the names of others' packages.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import knowledge_neurons_lab

if TYPE_CHECKING:
    from knowledge_neurons.api import KnowledgeNeurons
    from knowledge_neurons.compat.models import initialize_model_and_tokenizer, model_type

knowledge_neurons_lab.check()

__all__ = ["KnowledgeNeurons", "initialize_model_and_tokenizer", "model_type"]
__version__ = "0.1.0"

_ABOVE = Path(__file__).resolve().parents[2]
# The repository, where this is a checkout of it; None where it was installed from a wheel.
CHECKOUT = _ABOVE if (_ABOVE / "src" / "custom_bert.py").exists() else None
# Where data/, models/ and results/ are by default: in the checkout, else in the current folder.
ROOT = CHECKOUT or Path()


def __getattr__(name: str):
    """Import torch only for those who ask for what needs it: stage 2 does not."""
    if name == "KnowledgeNeurons":
        from knowledge_neurons.api import KnowledgeNeurons

        return KnowledgeNeurons
    if name in ("initialize_model_and_tokenizer", "model_type"):
        from knowledge_neurons.compat import models

        return getattr(models, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
