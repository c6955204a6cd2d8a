"""The gallery: which volumes, by the rule; what a row made of them, from what its run kept."""

from __future__ import annotations

import base64
import gzip
from dataclasses import dataclass, replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest

from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.benchmarks.plan.suite import Suite, select_rows
from uadbench.benchmarks.reports.page.sections import gallery
from uadbench.benchmarks.reports.page.sections.gallery import Case, chosen_volumes, gallery_section
from uadbench.benchmarks.reports.page.solid import Solid
from uadbench.benchmarks.reports.page.study import Question, SetOf, Study, study_of
from uadbench.benchmarks.reports.results import load_results
from uadbench.datasets.cohort import Data

from cases import run_jobs


@dataclass(frozen=True)
class _Ran:
    study: Study
    data: Data


@pytest.fixture(scope="module")
def ran(tiny_data: Data, tmp_path_factory: pytest.TempPathFactory) -> _Ran:
    """A study of two rows that kept their reconstructions."""
    from cases import TINY

    preset = load_preset(str(TINY), ["score.keep=reconstructions"])
    return _Ran(study_in(tmp_path_factory.mktemp("kept"), tiny_data, preset), tiny_data)


def study_in(folder: Path, data: Data, preset: Preset) -> Study:
    rows = select_rows(["thresh", "mean-brain"])
    jobs = jobs_for(rows, (0, 1), data, preset, 0)
    assert not any(outcome.problem for outcome in run_jobs(jobs, folder / "runs", "cpu", 1, SilentReporter()))
    suite = Suite("table1", "Table 1: a title", rows)
    return study_of(load_results(folder), Question((suite,), preset, data=data.name))


def test_volumes_are_chosen_by_the_median_of_the_rows(study: Study) -> None:
    chosen = chosen_volumes(study, next(one for one in study.sets if one.key == "tumours"))
    competing = [row.place for row in study.rows if row.competes]
    medians = study.by_volume("tumours", "dice")[competing].median(axis=1)
    ordered = medians.sort_values()
    assert [rule for rule, _, _ in chosen] == ["highest", "middle", "lowest"]
    assert [subject for _, subject, _ in chosen] == [ordered.index[-1], ordered.index[6], ordered.index[0]]
    assert chosen[0][2] == medians.max()


def test_a_single_volume_is_shown_once(study: Study) -> None:
    frame = study.volumes[study.volumes["subject"] == "phantom-ms-0001"]
    (only,) = chosen_volumes(replace(study, volumes=frame), SetOf("ms", "MS", simulated=True))
    assert only[1] == "phantom-ms-0001"
    empty = replace(study, volumes=pd.DataFrame(columns=study.volumes.columns))
    assert chosen_volumes(empty, SetOf("ms", "MS", simulated=True)) == []


def test_kept_reconstructions_are_shown_with_the_dice_of_the_record(ran: _Ran) -> None:
    cases: tuple[Case, ...] = gallery_section(ran.study, ran.data, "").content["cases"]
    assert {case.set_title for case in cases} == {"tiny tumours", "tiny MS"} or len(cases) == 4
    for case in cases:
        key = case.subject.split("-")[0]
        assert {tile.title for tile in case.tiles} == {"Thresh", "Mean brain"}
        for tile in case.tiles:
            row = next(row for row in ran.study.rows if row.title == tile.title)
            (dice,) = [s.dice for s in row.records[0].scores() if (s.role, s.subject) == (key, case.subject)]
            assert tile.said == f"Dice {100 * (dice or 0):.1f} %"
        assert case.slices == (0, 1, 2, 3)
        assert case.size == sum(
            map(len, (case.scan, case.truth, *(w for t in case.tiles for w in (t.reconstruction, t.heat, t.found))))
        )


def test_nothing_is_made_by_a_network(ran: _Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    from uadbench.methods.thresh import Thresh

    monkeypatch.setattr(Thresh, "reconstruct", lambda *_: pytest.fail("a network was asked"))
    assert gallery_section(ran.study, ran.data, "").content["cases"]


def test_pictures_that_are_too_large_lose_slices(ran: _Ran, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gallery, "_BUDGET", 1)
    assert {len(case.slices) for case in gallery_section(ran.study, ran.data, "").content["cases"]} == {1}


def test_without_them_the_figures_of_the_records_are_shown(
    tmp_path: Path, tiny_data: Data, tiny_preset: Preset
) -> None:
    study = study_in(tmp_path, tiny_data, tiny_preset)
    section = gallery_section(study, tiny_data, "")
    assert section.content["cases"] == ()
    assert "run with --set score.keep=reconstructions" in section.lead[0]
    section = gallery_section(study, None, "The data are far away.")
    assert [drawn.title for drawn in section.content["drawn"]] == [row.title for row in study.rows]
    assert section.lead[0].startswith("The data are far away. Shown: the figures that the runs drew")
    for row in study.rows:
        for record in row.records:
            record.figure.unlink()
    assert gallery_section(study, None, "The data are far away.").content["drawn"] == ()


def test_volumes_in_3d_hold_what_was_read_and_lose_maps_where_there_is_no_room(
    ran: _Ran, monkeypatch: pytest.MonkeyPatch
) -> None:
    def solids() -> list[Solid | None]:
        return [case.solid for case in gallery_section(ran.study, ran.data, "", in_3d=True).content["cases"]]

    cases: tuple[Case, ...] = gallery_section(ran.study, ran.data, "", in_3d=True).content["cases"]
    assert {case.solid for case in gallery_section(ran.study, ran.data, "").content["cases"]} == {None}
    for case in cases:
        assert case.solid is not None
        assert [title for title, _ in case.solid.maps] == [tile.title for tile in case.tiles]
        cohort = ran.data.lesions[case.subject.split("-")[0]]
        image = nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(case.solid.lesions)))
        lesions = np.asarray(cohort.store.lesion_mask(case.subject))
        first = (len(lesions) - len(case.slices)) // 2  # the preset's slices are the central ones
        central = lesions[first : first + len(case.slices)]
        assert np.array_equal(np.asarray(image.dataobj).transpose(2, 1, 0).astype(bool), central)
        assert image.header.get_zooms() == (cohort.store.voxel_mm,) * 3
    room = sum(case.size for case in cases)
    monkeypatch.setattr(gallery, "_ROWS", 2)
    monkeypatch.setattr(gallery, "_SHARED_BUDGET", room + sum(one.size for one in solids() if one))
    assert [len(one.maps) for one in solids() if one] == [2] * len(cases)
    monkeypatch.setattr(gallery, "_SHARED_BUDGET", room + sum(one.size for one in solids() if one) - 1)
    assert [len(one.maps) for one in solids() if one] == [1] * len(cases)
