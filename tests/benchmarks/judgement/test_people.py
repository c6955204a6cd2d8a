"""Who a scan shows, from stores and from a table of one's own."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from uadbench.benchmarks.judgement.people import people_in, with_people
from uadbench.errors import UserError


def store(folder: Path, made: dict[str, str], *subjects: dict[str, Any], when: int = 0) -> None:
    folder.mkdir(parents=True)
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps({"recipe": {"manifest": made, "subjects": list(subjects)}}))
    os.utime(manifest, (when, when))


@pytest.fixture
def stores(tmp_path: Path) -> Path:
    old = {"id": "IXI002-Guys-0828", "age": 35.8, "site": "Guys"}
    store(tmp_path / "phantom-demo" / "ms", {"role": "ms"}, {"id": "phantom-ms-0000", "age": 38.4, "site": "centre"})
    store(tmp_path / "ixi-old", {"set": "ixi"}, {**old, "age": None}, when=1)
    store(tmp_path / "ixi-new", {"set": "ixi"}, old, {"id": "IXI012-HH-1211", "age": None, "site": None}, when=2)
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text("{")
    return tmp_path


def line_of(people: pd.DataFrame, subject: str) -> list[Any]:
    (line,) = people[people["subject"] == subject][["cohort", "age", "site", "sex"]].to_numpy().tolist()
    return list(line)


def test_the_newest_store_counts_and_nobody_stands_twice(stores: Path) -> None:
    people = people_in(stores)
    assert len(people) == 3
    assert line_of(people, "IXI002-Guys-0828") == ["ixi", 35.8, "Guys", ""]
    assert line_of(people, "phantom-ms-0000") == ["phantom-ms", 38.4, "centre", ""]
    unknown = line_of(people, "IXI012-HH-1211")
    assert unknown[1] != unknown[1]
    assert unknown[2:] == ["", ""]


def test_a_table_adds_what_it_says_by_scan_or_by_person(stores: Path, tmp_path: Path) -> None:
    table = tmp_path / "participants.tsv"
    rows = ("participant_id\tage\tsex", "sub-IXI002\tn/a\tF", "IXI012-HH-1211_t2.nii.gz\t89+\tm", "nobody\t1\tm")
    table.write_text("\n".join(rows) + "\n")
    people = people_in(stores, table)
    assert line_of(people, "IXI002-Guys-0828") == ["ixi", 35.8, "Guys", "female"]
    assert line_of(people, "IXI012-HH-1211") == ["ixi", 89.0, "", "male"]
    assert len(people) == 3


def test_no_store_knows_nobody(tmp_path: Path) -> None:
    people = people_in(tmp_path / "nowhere")
    assert len(people) == 0
    volumes = pd.DataFrame({"cohort": ["a"], "subject": ["b"]})
    (line,) = with_people(volumes, people).to_dict("records")
    assert (line["site"], line["sex"]) == ("", "")
    assert line["age"] != line["age"]


def test_a_table_that_will_not_do_is_one_sentence(stores: Path, tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("name,sex\na,f\n")
    with pytest.raises(
        UserError, match=r"people.csv names no scan; give it a column img_name, participant_id, subject"
    ):
        people_in(stores, table)
    with pytest.raises(UserError, match="is no readable table"):
        people_in(stores, tmp_path / "missing.csv")
    table.write_text("participant_id,sex\nsub-IXI999,f\n")
    with pytest.raises(UserError, match="people.csv says nothing of any scan here, such as "):
        people_in(stores, table)


@pytest.mark.parametrize("name", ["IXI.csv", "sheet-of-mine.csv"])
def test_the_sheet_of_a_data_set_tells_sex_and_age(stores: Path, tmp_path: Path, name: str) -> None:
    table = tmp_path / name
    head = '"IXI_ID","SEX_ID (1=m, 2=f)","HEIGHT","AGE"'
    table.write_text(f"{head}\n2,2,164,\n2,1,164,35.5\n12,1,175,38.78\n999,1,1,1\n")
    people = people_in(stores, table)
    assert line_of(people, "IXI002-Guys-0828") == ["ixi", 35.5, "Guys", "female"]  # the first that is known counts
    assert line_of(people, "IXI012-HH-1211") == ["ixi", 38.78, "", "male"]


@pytest.mark.parametrize(
    ("name", "content", "cohort", "scan", "known"),
    [
        ("unrestricted.csv", "Subject,Gender,Age\n100307,F,26-30\n", "hcp_ya", "100307", [28.0, "", "female"]),
        (
            "oasis_cross-sectional.csv",
            "ID,M/F,Age,CDR\nOAS1_0001_MR1,M,74,0\n",
            "oasis1",
            "OAS1_0001_MR1",
            [74.0, "", "male"],
        ),
    ],
)
def test_sheets_of_other_sets(
    tmp_path: Path, name: str, content: str, cohort: str, scan: str, known: list[Any]
) -> None:
    store(tmp_path / "store", {"set": cohort}, {"id": scan, "age": None, "site": None})
    (tmp_path / name).write_text(content)
    assert line_of(people_in(tmp_path, tmp_path / name), scan) == [cohort, *known]


def test_a_table_knows_scans_without_a_store(tmp_path: Path) -> None:
    table = tmp_path / "people.csv"
    table.write_text("IMG_NAME,Sex,Age\na_t2.nii.gz,F,40\n")
    scans = pd.DataFrame({"cohort": ["one", "one"], "subject": ["a", "b"]})
    people = people_in(tmp_path / "nowhere", table, scans)
    assert line_of(people, "a") == ["one", 40.0, "", "female"]
    assert line_of(people, "b")[2:] == ["", ""]
