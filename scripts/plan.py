#!/usr/bin/env python
"""What a run will cost, before it is begun; the same as `kn plan`.

python scripts/plan.py                                     # the paper: bert-base-cased, PARAREL
python scripts/plan.py --model models/smollm2 --max_facts 10 --device cpu --deadline 2
python scripts/run_stages.py --calls | python scripts/plan.py --calls -
"""

from __future__ import annotations

from knowledge_neurons.stages import program  # isort: skip

from knowledge_neurons.stages import planning

if __name__ == "__main__":
    program.run(planning.main)
