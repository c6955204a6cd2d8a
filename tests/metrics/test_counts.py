"""The shared ranking against counting by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from uadbench.metrics.counts import count_at_lesion_scores


@settings(deadline=None)
@given(st.data(), st.integers(1, 40))
def test_counts_equal_comparing_with_each_score(data, size):
    few = st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1.0])
    scores = data.draw(hnp.arrays(np.float32, size, elements=few))
    labels = data.draw(hnp.arrays(bool, size).filter(np.any))
    counts = count_at_lesion_scores(scores, labels)
    assert counts.scores.tolist() == sorted(set(scores[labels].tolist()))
    for score, lesions, others in zip(counts.scores, counts.lesions, counts.others, strict=True):
        assert lesions == sum(scores[labels] >= score)
        assert others == sum(scores[~labels] >= score)
