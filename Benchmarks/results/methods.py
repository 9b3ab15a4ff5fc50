"""Tables of methods from the JSON of `espalier compare`: methods.py COMPARE.json..."""

import json
import sys


def number(value, form):
    return "" if value is None else format(value, form)


for path in sys.argv[1:]:
    with open(path) as file:
        rows = json.load(file)["rows"]
    print("| method | sparsity | test accuracy | each seed | FLOPs of dense | connections ever active |\n|" + " --- |" * 6)
    for row in sorted(rows, key=lambda row: (row["sparsity"], -(row.get("accuracy_mean") or 0))):
        mean = number(row.get("accuracy_mean"), ".4f")
        deviation = "" if row.get("accuracy_sd") is None else f" ± {row['accuracy_sd']:.4f}"
        each = ", ".join(f"{accuracy:.4f}" for accuracy in row["accuracies"])
        flops, explored = number(row.get("train_flops_ratio"), ".3f"), number(row.get("exploration_rate"), ".3f")
        print(f"| `{row['method']}` | {row['sparsity']:g} | {mean}{deviation} | {each} | {flops} | {explored} |")
    print()
