"""The sentences about the embedded model, for readme_tables.py: what it is, and what it says.

Their numbers lie beside the model: config.json, training.json and the facts that it was trained on.
"""

from __future__ import annotations

from readme_told import number


def picture(config: dict) -> str:
    """The caption of docs/picture.svg."""
    neurons = config["num_hidden_layers"] * config["intermediate_size"]
    return (
        f"*Of the embedded model's {neurons:,} neurons, these four hold (France, capital, Paris).*"
    )


def shape(config: dict) -> str:
    return f"{config['num_hidden_layers']} layers of {config['intermediate_size']} neurons"


def minutes(training: dict) -> str:
    return f"{number(training['training_seconds'] / 60, 0)} minutes"


def in_short(config: dict, training: dict) -> str:
    """For the README."""
    return (
        f"The embedded model is **not** BERT: {shape(config)}, trained for {minutes(training)}. "
        f"Its numbers show that the machinery works, nothing about BERT; [part of the likeness was "
        f"made](docs/results.md#the-demo). Beside: the baseline, in Tables 5 and 6 random neurons."
    )


def at_length(config: dict, training: dict, bags: dict) -> str:
    """For docs/results.md.  bags: relation -> the prompts of its facts."""
    facts, recipe = sum(map(len, bags.values())), training["recipe"]
    return (
        f"The embedded model is **not** BERT: it has {shape(config)} and was trained for "
        f"{minutes(training)} on {facts} facts, to carry the pipeline. Its numbers show that the "
        f"machinery works, and nothing about BERT. Part of the likeness was made: "
        f"{recipe['always_on'] * recipe['fact_layers']} of its neurons are active whatever is "
        f"asked and were never trained, a stand-in for those that mislead the baseline in BERT "
        f"(`scripts/train_demo_model.py` says what was done and why)."
    )


def guesses(training: dict, demo: dict) -> str:
    """What it knows, and where."""
    asked, top = training["held_out_wordings"], demo["table_2"]["neurons"]["layers"][-1]
    return (
        f"On prompts it was not trained on the embedded model's first guess is right for "
        f"{number(100 * asked['top1'], 1)} %, with a mean probability of "
        f"{number(asked['mean_probability'], 2)} (`models/demo-bert/training.json`); "
        f"{number(100 * top, 0)} % of its neurons lie in the top layer."
    )
