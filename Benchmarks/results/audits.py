"""How near updates come to the true gradient: audits.py COMPARE.json, of an `espalier compare --audit ROWS` whose runs are still there.

Prints one line of JSON: for each method the mean over its runs' updates and layers, weighted by what a layer grew, of recall (the fraction of
the largest gradients in the audited rows that grew) and of the guide's rank correlation with the gradient's magnitude; null where there is none.
"""

import glob
import json
import os
import sys

with open(sys.argv[1]) as file:
    folder = json.load(file)["run"]
sums = {}
for path in sorted(glob.glob(os.path.join(glob.escape(folder), "cells", "*", "*", "topology.jsonl"))):
    cell = os.path.basename(os.path.dirname(os.path.dirname(path)))
    method = sums.setdefault(cell.rsplit("-", 2)[0], {})
    for update in map(json.loads, open(path)):
        for layer in update["layers"]:
            for key in ("recall", "rank_correlation"):
                if layer.get(key) is not None:
                    weight, total = method.get(key, (0, 0))
                    method[key] = (weight + layer["grown"], total + layer["grown"] * layer[key])
means = {
    name: {key: round(total / weight, 4) if weight else None for key in ("recall", "rank_correlation") for weight, total in [method.get(key, (0, 0))]}
    for name, method in sums.items()
}
print(json.dumps(means))
