"""Tables of methods from the JSON of `espalier compare`.

    methods.py COMPARE.json...                                     one table a file
    methods.py --beside LABEL=COMPARE.json[,MORE.json]...          one table of all, a label's accuracies and FLOPs side by side
"""

import json
import sys


def rows_of(path):
    with open(path) as file:
        return json.load(file)["rows"]


def number(value, form):
    return "" if value is None else format(value, form)


def accuracy(row):
    mean = number(row.get("accuracy_mean"), ".4f")
    return mean + ("" if row.get("accuracy_sd") is None else f" ± {row['accuracy_sd']:.4f}")


def single(path):
    print("| method | sparsity | test accuracy | each seed | FLOPs of dense | connections ever active |\n|" + " --- |" * 6)
    for row in sorted(rows_of(path), key=lambda row: (row["sparsity"], -(row.get("accuracy_mean") or 0))):
        each = ", ".join(f"{value:.4f}" for value in row["accuracies"])
        flops, explored = number(row.get("train_flops_ratio"), ".3f"), number(row.get("exploration_rate"), ".3f")
        print(f"| `{row['method']}` | {row['sparsity']:g} | {accuracy(row)} | {each} | {flops} | {explored} |")
    print()


def beside(columns):
    """In falling order of the sum of the labels' accuracies."""
    cells = {}
    for label, paths in columns:
        for row in (row for path in paths.split(",") for row in rows_of(path)):
            cells.setdefault((row["method"], row["sparsity"]), {})[label] = row
    print("| method | sparsity |" + "".join(f" {label} | FLOPs of dense |" for label, _ in columns))
    print("|" + " --- |" * (2 + 2 * len(columns)))
    for (method, sparsity), found in sorted(cells.items(), key=lambda cell: -sum(r["accuracy_mean"] for r in cell[1].values())):
        rows = [found.get(label, {}) for label, _ in columns]
        values = "".join(f" {accuracy(row)} | {number(row.get('train_flops_ratio'), '.3f')} |" for row in rows)
        print(f"| `{method}` | {sparsity:g} |" + values)


if sys.argv[1:2] == ["--beside"]:
    beside([column.split("=", 1) for column in sys.argv[2:]])
else:
    for name in sys.argv[1:]:
        single(name)
