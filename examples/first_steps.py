"""First steps in Python: two methods on the phantom, their numbers, a table, a figure of a volume.

    python examples/first_steps.py

The phantom's brains are simulated and the networks small: this shows the machinery, and is no evidence about methods.
The first run prepares the phantom, which takes most of the time; a second one finds everything done.
"""

from __future__ import annotations

import uadbench


def main() -> None:
    """Run a method that learns nothing and a small autoencoder on one fold, and look at what came of it."""
    # A row of the table each; what is changed in a preset makes another cell, never a silent mix.
    thresh = uadbench.run("thresh", folds=0)
    ae = uadbench.run("ae", folds=0, changes={"train.epochs": 40})
    print(thresh[["title", "fold", "tumours/dice", "ms/dice"]].to_string(index=False))
    print(ae[["title", "fold", "tumours/dice", "ms/dice"]].to_string(index=False))

    # Everything that was run lies in run records below results/; a frame of cells and one of test volumes.
    results = uadbench.load_results()
    volumes = results.volumes()
    print(f"{len(results.to_dataframe())} cells, {len(volumes)} test volumes")

    # One cell: thresholds, scores of each volume, training history, the figure.
    cell = uadbench.read_cell(ae["id"][0])
    print(f"thresholds of {cell.folder.name}:")
    print(cell.thresholds.to_string())
    print(f"its figure: {cell.figure}")

    # The published Table 1, of what was run here.
    print(results.table("1").to_string())


if __name__ == "__main__":  # worker processes import this file
    main()
