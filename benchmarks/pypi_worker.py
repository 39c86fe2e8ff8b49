"""One side of a pipe: the PyPI package `knowledge-neurons` in an interpreter of its own.

Not run by hand: `attribution_rivals.Pypi` starts it, because the package and this project share
their import name.  Arguments: a checkpoint folder, a number of threads.  Then a JSON object per
line on stdin, {"call": method, "arguments": {...}, "tensor": path}; each is answered on stdout by
{"seconds", "result"}, a tensor by writing it to that path, an intervention without its undoing.
"""

import json
import sys
import time

import numpy as np
import torch
import transformers
from transformers import BertLMHeadModel, BertTokenizer

from knowledge_neurons import KnowledgeNeurons


def main() -> None:
    folder, threads = sys.argv[1], int(sys.argv[2])
    torch.set_num_threads(threads)
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # As its own initialize_model_and_tokenizer does, which knows hub names only.
    model = BertLMHeadModel.from_pretrained(folder).eval()
    tool = KnowledgeNeurons(model, BertTokenizer.from_pretrained(folder), device="cpu")
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        start = time.perf_counter()
        result = getattr(tool, request["call"])(**request["arguments"])
        seconds = time.perf_counter() - start
        if isinstance(result, torch.Tensor):
            np.save(request["tensor"], result.detach().numpy())
            result = None
        if isinstance(result, tuple):
            result = result[0]
        print(json.dumps({"seconds": seconds, "result": result}), flush=True)


if __name__ == "__main__":
    main()
