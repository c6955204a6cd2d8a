"""What MLflow says of the experiment above its runs."""

from __future__ import annotations

from ..tags import NOTE
from .view import CURVES_TAG, curves_state

#: Markdown.
_NOTE = """\
Unsupervised detection of lesions in brain MRI: methods that have seen healthy brains alone, compared on brains with
lesions. Written by uadbench from the run records in its results folder, which are the truth:
`bench sync` brings this page up to date, and what is deleted here comes back with it.

**A parent run** is a method with its numbers on one data source: mean over folds, standard deviation under `spread/`,
table and plots among its artifacts. **Its children** are the folds, with their curves; a fold that is being trained
shows its curve as it grows. Metrics have the same names on both.

| metrics | what |
|---|---|
| `dice_…`, `auprc_…`, `l1_…` | the columns of the paper, one per data set: look at these first |
| `train_loss`, `val_loss`, `learning_rate` | the curves; the loss on healthy validation brains chooses the weights |
| `DATA_SET/…` | every number of a data set; fractions, not percents |
| `training/…`, `cost/…` | best validation loss, folds that are done; parameters and seconds |
| `threshold/…` | thresholds by lesion set, with the validation Dice of each |
| `spread/…` | of a parent: the standard deviation over folds |
| `system/…` | what the machine did, with `--system-metrics` |

To compare methods: filter by ``tags.`uadbench.kind` = 'parent'``, choose runs, *Compare*. Two runs can be compared
where their data have the same digest (column *Dataset*). Numbers of runs tagged `phantom = yes` come from simulated
brains and say nothing about patients.
"""

#: Tags of the experiment; each is written once, so that what a user makes of it stays. The second spares MLflow's pages
#: what is there for language models.
EXPERIMENT_TAGS = {NOTE: _NOTE, "mlflow.experimentKind": "custom_model_development", CURVES_TAG: curves_state()}
