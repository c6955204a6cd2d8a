"""uadbench: the benchmark of unsupervised anomaly detection in brain MRI."""

from __future__ import annotations
