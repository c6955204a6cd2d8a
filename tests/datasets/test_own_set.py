"""A data set in a file of one's own, from the raw folder to data that a run reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from uadbench.benchmarks.engine.cell_run import run_job
from uadbench.benchmarks.engine.job import jobs_for
from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import load_preset
from uadbench.benchmarks.plan.suite import load_suite, select_rows
from uadbench.benchmarks.reports.cells import cells_of_records
from uadbench.benchmarks.reports.table import make_table
from uadbench.datasets import DataSet, Modality, data_sets, register_file, registry
from uadbench.datasets.downloads.prepare import prepare_set
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.datasets.downloads.recipe import PreparationRecipe
from uadbench.datasets.load import load_disk

from cases import TINY

FILE = '''"""Our clinic: T1 of healthy volunteers and of people after a stroke."""

from uadbench.datasets import DataSet, Modality, NamePattern, Participant, ParticipantSheet, Role, read_participants


def person_of(scan: str) -> str:
    """sub-c012 of c012-2: the second visit of the same person."""
    return "sub-" + scan.partition("-")[0]


HEALTHY = DataSet(
    name="volunteers",
    title="Volunteers",
    citation="Doe et al., Our volunteers, 2024",
    source="the clinic's research office",
    role=Role.HEALTHY,
    modalities={Modality.T1: "c012-2_T1w.nii.gz"},
    recognise=NamePattern(r"(?P<scan>c\\d+-\\d)_(?P<kind>\\w+)"),
    person_of=person_of,
    participants=ParticipantSheet(("participants.tsv",), read_participants),
    stripper="none",
)
STROKES = DataSet(
    name="strokes", title="Strokes", citation="Doe, Strokes, 2025", source="us", role=Role.LESIONS, stripper="none",
    modalities={Modality.T1: "s01_T1w.nii.gz"}, recognise=NamePattern(r"(?P<scan>s\\d+)_(?P<kind>\\w+)"),
)
'''
VISITS = [f"c{number:03d}-{visit}" for number in range(1, 7) for visit in (1, 2) if number < 4 or visit == 1]


@pytest.fixture
def sets(tmp_path: Path) -> Iterator[tuple[DataSet, ...]]:
    assert len(FILE.splitlines()) <= 30
    (tmp_path / "clinic.py").write_text(FILE)
    with registry.REGISTRY.isolated():
        yield register_file(tmp_path / "clinic.py")


@pytest.fixture
def raw(tmp_path: Path, write_head: Callable[..., object]) -> Path:
    """Six volunteers, three of whom came twice, and two people after a stroke, all stripped; a table of people."""
    root = tmp_path / "raw"
    for scan in VISITS:
        write_head(root / f"healthy/{scan}_T1w.nii.gz", None, None, skull=False)
    for scan in ("s01", "s02"):
        write_head(root / f"strokes/{scan}_T1w.nii.gz", None, root / f"strokes/{scan}_lesion.nii.gz", skull=False)
    rows = [f"sub-c{number:03d}\t{30 + number}\t{'north' if number % 2 else 'south'}" for number in range(1, 7)]
    (root / "healthy/participants.tsv").write_text("\n".join(["participant_id\tage\tsite", *rows]) + "\n")
    return root


def test_from_a_raw_folder_to_a_table(
    sets: tuple[DataSet, ...], raw: Path, tmp_path: Path, recipe_for: Callable[[str], PreparationRecipe]
) -> None:
    out, known = tmp_path / "data", tuple(data_sets().values())
    recipe = recipe_for("brats21")
    recipe = replace(recipe, settings=replace(recipe.settings, voxel=1.0))  # coarse in all else
    for data_set, folder in zip(sets, ("healthy", "strokes"), strict=True):
        found = find_raw(data_set, raw / folder, Modality.T1, known)
        prepared = prepare_set(found, out, recipe, jobs=2)
        assert not prepared.failures and len(prepared.prepared) == len(found.scans)
    preset = load_preset(str(TINY), ("data.slices=40",))
    data = load_disk(out, tmp_path / "cache", preset.preparation, None, 1, known=known, modality=Modality.T1)
    assert (data.healthy.name, data.healthy.title, data.healthy.key) == ("volunteers", "Volunteers", "healthy")
    assert data.title == "Volunteers, Strokes" and set(data.lesions) == {"strokes"}
    people = {subject.id: (subject.age, subject.site) for subject in data.healthy.store.subjects}
    assert people["c002-1"] == people["c002-2"] == (32.0, "south") and people["c005-1"] == (35.0, "north")
    assert data.lesions["strokes"].store.lesion_mask("s01").any()
    assert data.healthy.provenance is not None and data.healthy.provenance.atlas == "synthetic_t1.nii.gz"
    for fold in data.splits.folds:
        parts = [{scan.partition("-")[0] for scan in part} for part in (fold.train, fold.val, data.splits.healthy_test)]
        assert all(parts) and not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(data.splits.healthy_test) >= 1 and data.splits.findings == ()

    (job,) = jobs_for(select_rows(["thresh"]), (0,), data, preset, 0)
    record = run_job(job, tmp_path / "runs", "cpu", SilentReporter())
    cells = cells_of_records([record])
    table = make_table(load_suite("table1"), cells, preset, data.name, 0, modality=Modality.T1)
    columns = {(column.key, column.metric.name) for column in table.columns}
    assert columns == {("strokes", "dice"), ("strokes", "auprc"), ("healthy", "l1")}
    row = table.text().loc[table.lines.index[table.lines["row"] == "thresh"][0]]
    assert float(row["strokes/dice"].split()[0]) == pytest.approx(100 * record.metrics["strokes/dice"], abs=0.05)


def test_sites_of_another_download_are_kept(sets: tuple[DataSet, ...], raw: Path, tmp_path: Path) -> None:
    from uadbench.datasets.downloads.people_tables import add_sites
    from uadbench.datasets.splits.own import read_sites

    (tmp_path / "splits").mkdir()
    table = tmp_path / "splits/sites.csv"
    table.write_text("img_name,site\nc001-1,west\n")
    found = find_raw(sets[0], raw / "healthy", Modality.T1)
    assert add_sites(table, found.sites) == len(VISITS) - 1
    assert read_sites(tmp_path / "splits") == {**found.sites, "c001-1": "west"}
    table.write_text("name;site\n")
    assert add_sites(table, found.sites) is None
