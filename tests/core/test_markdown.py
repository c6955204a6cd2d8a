"""Markdown tables: every cell in its column, whatever it holds."""

from __future__ import annotations

import pandas as pd

from uadbench.markdown import markdown_table


def test_words_stand_left_and_numbers_right_without_padding() -> None:
    frame = pd.DataFrame({"row": ["`ae`", "a long title, longer than its heading"], "step (s)": ["0.5", "–"]})
    assert markdown_table(frame, left=1) == (
        "| row | step (s) |\n| :-- | --: |\n| `ae` | 0.5 |\n| a long title, longer than its heading | – |"
    )


def test_a_bar_does_not_end_the_cell() -> None:
    table = markdown_table(pd.DataFrame([["x|y", "1"]], columns=["a|b", "c"]), left=1)
    assert table == "| a&#124;b | c |\n| :-- | --: |\n| x&#124;y | 1 |"


def test_words_that_look_like_numbers_stay_as_they_are() -> None:
    frame = pd.DataFrame([["1e3", "1.50"], [" 007", "nan"]], columns=["a", "b"])
    assert markdown_table(frame, left=0).splitlines()[2:] == ["| 1e3 | 1.50 |", "|  007 | nan |"]


def test_two_columns_of_one_name_and_no_lines_at_all() -> None:
    frame = pd.DataFrame([["1", "2"]], columns=["a", "a"])
    assert markdown_table(frame, left=2).splitlines()[2] == "| 1 | 2 |"
    assert markdown_table(frame.iloc[:0], left=2) == "| a | a |\n| :-- | :-- |"
