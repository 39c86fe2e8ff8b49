"""The peers' names: EleutherAI's `knowledge_neurons` and its multilingual fork, on this engine.

    from knowledge_neurons.compat import KnowledgeNeurons, initialize_model_and_tokenizer

    model, tokenizer = initialize_model_and_tokenizer("bert-base-uncased")
    kn = KnowledgeNeurons(model, tokenizer)
    refined = kn.get_refined_neurons(prompts, "paris")
    results, unpatch_fn = kn.suppress_knowledge(prompts[0], "paris", refined)

Their signatures, defaults and return shapes; docs/migration.md says what differs in numbers and
why.  The fork's `get_refined_neurons`, of three results, is a method of the library's own class.
"""

from knowledge_neurons.compat.eleuther import KnowledgeNeurons
from knowledge_neurons.compat.models import initialize_model_and_tokenizer, model_type

__all__ = [
    "KnowledgeNeurons",
    "initialize_model_and_tokenizer",
    "model_type",
    "plot_pararel_results",
]


def __getattr__(name: str):
    """Import matplotlib only for those who ask for a plot."""
    if name == "plot_pararel_results":
        from knowledge_neurons.figures.pararel_evaluate import plot_pararel_results

        return plot_pararel_results
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
