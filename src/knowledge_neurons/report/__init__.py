"""The report: one HTML file in which everything that a results folder holds can be looked at.

    html = report.render(Results(Path("results")))

It reads the stages' files alone, asks nothing of any network, and is the same, byte for byte, for
the same files.
"""

from knowledge_neurons.report.page import render

__all__ = ["render"]
