"""What every data set shares: who made it, where to ask for it, files that are recognised, people that are stable."""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path, PurePosixPath

import pytest
from miniatures import MINIATURES

from uadbench import registry as plugins
from uadbench.datasets import (
    MASK,
    SEGMENTATION,
    DataSet,
    Labels,
    Modality,
    NamePattern,
    Participant,
    Placed,
    Role,
    brats21,
    data_set_named,
    data_sets,
    ixi,
    mslub,
    read_participants,
    register,
    register_file,
    registry,
)
from uadbench.datasets.downloads.raw_layouts import find_raw
from uadbench.datasets.layout import SUFFIXES
from uadbench.datasets.scans.skull_strip import SKULL_STRIPPERS
from uadbench.errors import DataError, UserError


@pytest.fixture(params=data_sets())
def data_set(request: pytest.FixtureRequest) -> DataSet:
    return data_set_named(request.param)


def test_a_set_says_who_made_it_and_where_to_ask_for_it(data_set: DataSet) -> None:
    assert data_set.title and data_set.source
    assert re.search(r"\b(19|20)\d\d\b", data_set.citation)
    assert data_set.stripper in SKULL_STRIPPERS
    assert data_set.name in MINIATURES, "give it a miniature"


def test_the_images_that_a_set_names_are_recognised(data_set: DataSet) -> None:
    for modality, name in data_set.modalities.items():
        placed = data_set.recognise(PurePosixPath(name))
        assert placed is not None and placed.kind == modality, name
        assert re.fullmatch(r"[A-Za-z0-9._-]+", placed.scan)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_raw_folder_becomes_scans_of_people(name: str, tmp_path: Path) -> None:
    data_set, miniature = data_set_named(name), MINIATURES[name]
    found = find_raw(data_set, miniature.write(tmp_path), miniature.modality)
    assert {scan.id: data_set.person_of(scan.id) for scan in found.scans} == miniature.people
    assert (found.passed_over, found.unplaced, found.incomplete) == (miniature.not_needed, (), {})
    assert found.ages == miniature.ages and found.sites == miniature.sites
    expected = {miniature.modality} | ({SEGMENTATION} if not data_set.is_healthy else set())
    for scan in found.scans:
        assert expected <= set(scan.files) <= {*expected, MASK}
        assert data_set.person_of(scan.id) == data_set.person_of(scan.id) != ""


@pytest.mark.parametrize("name", MINIATURES)
def test_no_other_set_takes_its_files_for_its_own(name: str, tmp_path: Path) -> None:
    """What belongs to two sets would make the wrong command go through; a general set as BIDS takes what it is told."""
    miniature = MINIATURES[name]
    images = [PurePosixPath(file) for file in miniature.files if file.lower().endswith(SUFFIXES)]
    others = [one for one in (ixi.DATA_SET, brats21.DATA_SET, mslub.DATA_SET) if one.name != name]
    assert not [one.name for one in others for image in images if one.recognise(image)]


def test_a_set_lacks_a_modality_in_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"IXI has no FLAIR; choose --modality of t1, t2, pd"):
        find_raw(ixi.DATA_SET, tmp_path, Modality.FLAIR)


# ------------------------------------------------------------------------------------------------------ the contract


def clinic(**changes: object) -> DataSet:
    values: dict[str, object] = {
        "name": "clinic",
        "title": "Clinic",
        "citation": "Doe et al., Our volunteers, 2024",
        "source": "our research office",
        "role": Role.LESIONS,
        "modalities": {Modality.T1: "c1_t1.nii.gz"},
        "recognise": NamePattern(r"(?P<scan>c\d+)_(?P<kind>\w+)"),
    }
    return DataSet(**{**values, **changes})  # type: ignore[arg-type]


@pytest.fixture
def clean_registry() -> Iterator[None]:
    """Registers nothing for the other tests."""
    with registry.REGISTRY.isolated():
        yield


def test_what_is_not_said_follows_from_the_name() -> None:
    lesions, healthy = clinic(), clinic(role=Role.HEALTHY)
    assert (lesions.key, lesions.folder, lesions.csv_prefix) == ("clinic", "Test/clinic", "clinic")
    assert (healthy.key, healthy.folder) == ("healthy", "Train/clinic")
    assert lesions.kinds(Modality.T1) == ("t1", "mask", "seg") and healthy.kinds(Modality.FLAIR) == ("flair", "mask")
    assert (lesions.person_of("c1"), lesions.site_of("c1"), lesions.labels) == ("c1", None, Labels())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "../evil"}, "cannot be called '../evil'"),
        ({"key": "a/b"}, "cannot be called 'a/b'"),
        ({"key": "healthy"}, "the key 'healthy' is that of every healthy set"),
        ({"role": Role.HEALTHY, "key": "mine"}, "the key 'healthy' is that of every healthy set"),
        ({"citation": "nobody"}, "says no year"),
        ({"modalities": {}}, "name at least one modality"),
        ({"held_out": (4, 4)}, "0 < k < n"),
        ({"folder": "../elsewhere"}, "below the data directory"),
        ({"folder": "/tmp"}, "below the data directory"),
    ],
)
def test_nonsense_is_refused(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        clinic(**changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "ixi"}, "two data sets are called 'ixi': IXI and Clinic"),
        ({"key": "tumours"}, "two data sets have the key 'tumours': BraTS21 and Clinic"),
        ({"folder": "Test/MSLUB"}, "two data sets lie in the folder 'Test/MSLUB'"),
        ({"csv_prefix": "IXI"}, "two data sets have split files called 'IXI'"),
    ],
)
def test_a_clash_with_a_registered_set_is_refused(changes: dict[str, object], words: str, clean_registry: None) -> None:
    with pytest.raises(ValueError, match=words):
        register(clinic(**changes))
    assert "clinic" not in data_sets()


def test_any_number_of_healthy_sets_may_be_registered(clean_registry: None) -> None:
    register(clinic(role=Role.HEALTHY))
    healthy = [one.is_healthy for one in data_sets().values()]
    assert sum(healthy) >= 2 and healthy == sorted(healthy, reverse=True)  # they come first


def test_patterns_of_names_and_of_paths() -> None:
    pattern = NamePattern(
        r"(.*/)?(?P<site>Utrecht|GE3T)/(?P<number>\d+)/(pre/)?(?P<kind>\w+)",
        {"wmh": SEGMENTATION},
        "{site}-{number}",
        "path",
    )
    assert pattern(PurePosixPath("public/training/Utrecht/7/pre/FLAIR.nii.gz")) == Placed("Utrecht-7", Modality.FLAIR)
    assert pattern(PurePosixPath("utrecht/7/wmh.nii.gz")) == Placed("utrecht-7", SEGMENTATION)
    assert pattern(PurePosixPath("Utrecht/7/pre/bias.nii.gz")) is None
    assert pattern(PurePosixPath("Utrecht/FLAIR.nii.gz")) is None
    with pytest.raises(ValueError, match='"name" or "path"'):
        replace(pattern, of="folder")


def test_participants_of_bids(tmp_path: Path) -> None:
    path = tmp_path / "participants.tsv"
    path.write_text("participant_id\tsex\tage\tsite\nsub-01\tF\t33\tparis\nsub-02\tM\t89+\tn/a\nsub-03\tM\tn/a\t\n")
    assert read_participants(path) == {
        "sub-01": Participant(33.0, "paris", sex="female"),
        "sub-02": Participant(89.0, None, sex="male"),
        "sub-03": Participant(None, None, sex="male"),
    }
    path.write_text("person\tage\nsub-01\t33\n")
    with pytest.raises(DataError, match="lacks the column participant_id"):
        read_participants(path)


# -------------------------------------------------------------------------------------------- packages and own files


FILE = '''"""Our clinic: T1 of healthy volunteers."""

from uadbench.datasets import DataSet, Modality, NamePattern, Role


def person_of(scan: str) -> str:
    """c012 of c012-2: the second visit of the same person."""
    return scan.partition("-")[0]


DATA_SET = DataSet(
    name="clinic",
    title="Clinic",
    citation="Doe et al., Our volunteers, 2024",
    source="the clinic's research office",
    role=Role.HEALTHY,
    modalities={Modality.T1: "c012-2_T1w.nii.gz"},
    recognise=NamePattern(r"(?P<scan>c\\d+-\\d)_(?P<kind>\\w+)"),
    person_of=person_of,
    stripper="none",
)
'''


def test_a_set_in_a_file_of_ones_own_is_known_to_this_process(tmp_path: Path, clean_registry: None) -> None:
    assert len(FILE.splitlines()) < 30
    path = tmp_path / "clinic.py"
    path.write_text(FILE)
    (data_set,) = register_file(path)
    assert data_set_named("clinic") is data_set and data_set.person_of("c012-2") == "c012"
    assert register_file(path) == (data_set,)  # named twice
    path.write_text(FILE.replace('title="Clinic"', 'title="Our clinic"'))
    register_file(path)  # edited: the new text takes the old one's place
    assert data_set_named("clinic").title == "Our clinic"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "the file cannot be read"),
        ("x = 1", "holds no DataSet"),
        ("import no_such_library", "cannot be imported: ModuleNotFoundError"),
        (FILE.replace("2024", ""), r"cannot be imported: ValueError: Clinic: the citation .* \(.*clinic.py, line 11\)"),
        (FILE.replace('"clinic"', '"ixi"'), "two data sets are called 'ixi'"),
        ("import helper\n" + FILE, "it imports helper.py from beside it, but a data set is one file"),
    ],
)
def test_a_file_that_is_none_is_one_sentence(
    text: str | None, words: str, tmp_path: Path, clean_registry: None
) -> None:
    (tmp_path / "helper.py").write_text("")
    path = tmp_path / "clinic.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UserError, match=words):
        register_file(path)
    assert "clinic" not in data_sets()


def test_an_unknown_set_is_one_sentence_with_the_list() -> None:
    with pytest.raises(UserError, match=r"no data set 'ixy'; choose one of .*ixi, .*brats21"):
        data_set_named("ixy")


def test_an_installed_package_brings_its_sets(
    tmp_path: Path, clean_registry: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Distribution:
        name, version = "more-sets", "1.2"

    class Point:
        name, value, dist = "clinic", "more_sets_module", Distribution()

        @staticmethod
        def load() -> object:
            return importlib.import_module("more_sets_module")

    (tmp_path / "more_sets_module.py").write_text(FILE)
    monkeypatch.syspath_prepend(tmp_path)
    broken = EntryPoint("broken", "no_such_module_anywhere", registry.ENTRY_POINTS)
    monkeypatch.setattr(plugins, "entry_points", lambda group: [broken, Point()])
    with pytest.warns(registry.DataSetPluginWarning, match="no_such_module_anywhere"):
        assert data_sets()["clinic"].title == "Clinic"
    assert registry.distribution_of("clinic") == "more-sets 1.2" and registry.distribution_of("ixi") == ""
    sys.modules.pop("more_sets_module")


def test_people_with_dementia_are_left_out_of_a_healthy_set_and_said(tmp_path: Path) -> None:
    raw = MINIATURES["oasis1"].write(tmp_path)
    found = find_raw(data_set_named("oasis1"), raw, Modality.T1)
    assert "1 scan is left out: OAS1_0003_MR1, dementia (CDR 0.5)" in found.notes
    (raw / "oasis_cross-sectional.csv").unlink()
    found = find_raw(data_set_named("oasis1"), raw, Modality.T1)
    assert "OAS1_0003_MR1" in {scan.id for scan in found.scans}
    assert any("people with dementia stay in" in note for note in found.notes)
