"""Downloads in miniature: which file is whose, in folders and tars, in every spelling."""

from __future__ import annotations

import io
import os
import pickle
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import xlwt

from uadbench.datasets import brats21, ixi, mslub
from uadbench.datasets.base import DataSet
from uadbench.datasets.downloads.raw_layouts import RawSet, find_raw
from uadbench.datasets.modality import Modality
from uadbench.datasets.registry import data_sets
from uadbench.datasets.scans.scan_file import scan_parts
from uadbench.datasets.splits.own import read_scans
from uadbench.errors import DataError


def find(data_set: DataSet, raw: Path) -> RawSet:
    return find_raw(data_set, raw, Modality.T2, tuple(data_sets().values()))


def touch(root: Path, *names: str) -> Path:
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(f"content of {name}".encode())
    return root


def packed(root: Path, tar: Path) -> Path:
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as archive:
        archive.add(root, arcname=".")
    return tar


def ids(raw_set) -> list[str]:
    return [scan.id for scan in raw_set.scans]


def test_ixi_as_downloaded(tmp_path):
    raw = touch(tmp_path, "IXI-T2/IXI002-Guys-0828-T2.nii.gz", "IXI-T2/IXI012-HH-1211-T2.nii.gz", ".DS_Store")
    touch(raw, "IXI-T1/IXI002-Guys-0828-T1.nii.gz", "notes.txt", "IXI-DTI/IXI002-Guys-0828-DTI-03.nii.gz")
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
    assert found.unplaced == (str(tmp_path / "notes.txt"),)
    assert found.passed_over == 2
    assert not found.incomplete
    assert "no IXI.xls" in found.notes[0]


def test_ixi_as_a_tar_and_a_folder_of_tars(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2.nii.gz")
    tar = packed(raw, tmp_path / "down" / "IXI-T2.tar")
    for place in (tar, tar.parent):
        found = find(ixi.DATA_SET, place)
        assert ids(found) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
        with found.scans[1].files["t2"].opened() as path:
            assert path.name.endswith(".nii.gz")
            assert path.read_bytes() == b"content of IXI012-HH-1211-T2.nii.gz"
        assert not path.exists()


def test_an_unpacked_scan_is_preferred_to_its_twin_in_a_tar(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz")
    packed(raw, tmp_path / "raw" / "a.tar")
    found = find(ixi.DATA_SET, raw)
    assert found.scans[0].files["t2"].member is None
    assert found.passed_over == 1


def test_ages_come_from_the_sheet(tmp_path):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2.nii.gz", "IXI013-HH-1212-T2.nii.gz")
    (raw / "IXI.csv").write_text("IXI_ID,AGE\n2,35.8\n2,99\n12,\n13,0\n")
    found = find(ixi.DATA_SET, raw)
    assert found.ages == {"IXI002-Guys-0828": 35.8}
    assert found.notes == ("2 of 3 IXI scans have no age in IXI.csv",)


@pytest.mark.parametrize("content", [b"no spreadsheet", b""])
def test_a_sheet_that_cannot_be_read_is_a_note(tmp_path, content):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz")
    (raw / "IXI.xls").write_bytes(content)
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828"]
    assert found.ages == {}
    assert "ages stay unknown" in found.notes[0]


def test_brats_as_downloaded(tmp_path):
    case = "BraTS2021_00000/BraTS2021_00000_"
    names = [f"{case}{kind}.nii.gz" for kind in ("t1", "t1ce", "flair", "t2", "seg")]
    raw = touch(
        tmp_path / "raw",
        *names,
        "BraTS2021_00002/BraTS2021_00002_t2.nii.gz",
        "BraTS2021_00003/BraTS2021_00003_seg.nii.gz",
    )
    for place in (raw, packed(raw, tmp_path / "BraTS2021_Training_Data.tar")):
        found = find(brats21.DATA_SET, place)
        assert ids(found) == ["BraTS2021_00000"]
        assert set(found.scans[0].files) == {"t2", "seg"}
        assert found.passed_over == 3
        assert "no segmentation" in found.incomplete["BraTS2021_00002"]
        assert "no T2 image" in found.incomplete["BraTS2021_00003"]


@pytest.mark.parametrize(
    "names",
    [
        (
            "patient01/patient01_T2W.nii.gz",
            "patient01/patient01_brainmask.nii.gz",
            "patient01/patient01_consensus_gt.nii.gz",
        ),
        ("patient1/patient1_t2w.nii", "patient1/patient1_BRAINMASK.nii", "patient1/patient1_Consensus_GT.nii"),
        ("patient01/T2W.nii.gz", "patient01/brainmask.nii.gz", "patient01/consensus_gt.nii.gz"),
        (
            "patient01/raw/patient01_T2W.nii.gz",
            "patient01/patient01_brainmask.nii.gz",
            "patient01/patient01_consensus_gt.nii.gz",
        ),
        ("patient01_t2.nii.gz", "patient01_mask.nii.gz", "patient01_seg.nii.gz"),
    ],
)
def test_mslub_in_its_spellings(tmp_path, names):
    raw = touch(tmp_path, *names, "patient01/patient01_T1WKS.nii.gz", "patient01/patient01_FLAIR.nii.gz")
    found = find(mslub.DATA_SET, raw)
    assert ids(found) == ["patient01"]
    files = found.scans[0].files
    assert [files[kind].path for kind in ("t2", "mask", "seg")] == [tmp_path / name for name in names]
    assert found.passed_over == 2


def test_mslub_takes_the_copy_that_its_labels_lie_on(tmp_path):
    case = ("T2W.nii.gz", "brainmask.nii.gz", "consensus_gt.nii.gz")
    raw = touch(
        tmp_path, *(f"coregistered/patient03/{name}" for name in case), *(f"raw/patient03/{name}" for name in case)
    )
    files = find(mslub.DATA_SET, raw).scans[0].files
    assert {file.path.parent for file in files.values()} == {tmp_path / "coregistered/patient03"}


def test_names_are_the_published_splits(tmp_path, shared_data):
    splits = shared_data / "behrendt2023-splits"
    listed = {
        ixi.DATA_SET: (read_scans(splits / "IXI_test.csv"), "{0}-T2.nii.gz", None),
        brats21.DATA_SET: (read_scans(splits / "Brats21_val.csv"), "{0}/{0}_t2.nii.gz", "{0}/{0}_seg.nii.gz"),
        mslub.DATA_SET: (read_scans(splits / "MSLUB_test.csv"), "{0}/{0}_T2W.nii.gz", "{0}/{0}_consensus_gt.nii.gz"),
    }
    for info, (scans, image, labels) in listed.items():
        names = [pattern.format(scan) for scan in scans for pattern in (image, labels) if pattern]
        assert ids(find(info, touch(tmp_path / info.name, *names))) == sorted(set(scans))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda root: root / "absent", "does not exist"),
        (lambda root: root, "is empty"),
        (lambda root: touch(root, "a/readme.txt"), "no IXI download"),
        (lambda root: touch(root, "IXI-T2.tar.gz") / "IXI-T2.tar.gz", "plain .tar"),
        (lambda root: touch(root, "IXI-T2.tar") / "IXI-T2.tar", "is no plain tar"),
    ],
)
def test_what_is_no_download_is_refused(tmp_path, make, words):
    with pytest.raises(DataError, match=words):
        find(ixi.DATA_SET, make(tmp_path))


def test_of_a_tar_cut_short_what_is_whole_is_used(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2.nii.gz")
    (raw / "IXI012-HH-1211-T2.nii.gz").write_bytes(bytes(50_000))
    tar = packed(raw, tmp_path / "IXI-T2.tar")
    with tarfile.open(tar) as archive:
        second = archive.getmember("./IXI012-HH-1211-T2.nii.gz")
    whole = tar.read_bytes()
    for cut, scans in (
        (second.offset, 1),  # between two files
        (second.offset + 100, 1),  # in a header
        (second.offset_data + 20_000, 2),  # in a file
        (second.offset_data + 50_000, 2),  # before the end mark
    ):
        tar.write_bytes(whole[:cut])
        found = find(ixi.DATA_SET, tar)
        assert len(found.scans) == scans, cut
        assert list(found.damaged) == [str(tar)], cut
        assert "is cut short" in found.damaged[str(tar)]
        with found.scans[0].files["t2"].opened() as path:
            assert path.read_bytes() == b"content of IXI002-Guys-0828-T2.nii.gz"
    tar.write_bytes(whole[: second.offset_data + 20_000])
    with (
        pytest.raises(DataError, match="ends in the middle"),
        find(ixi.DATA_SET, tar).scans[-1].files["t2"].opened(),
    ):
        pass
    tar.write_bytes(whole)
    assert not find(ixi.DATA_SET, tar).damaged


def test_a_damaged_tar_beside_whole_files_costs_only_itself(tmp_path):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz", "b/broken.tar")
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828"]
    assert "is no plain tar" in found.damaged[str(tmp_path / "b/broken.tar")]


def test_a_header_that_is_damaged_ends_the_tar_and_is_said(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2.nii.gz")
    tar = packed(raw, tmp_path / "IXI-T2.tar")
    with tarfile.open(tar) as archive:
        second = archive.getmember("./IXI012-HH-1211-T2.nii.gz")
    with tar.open("r+b") as file:
        file.seek(second.offset)
        file.write(b"damage" * 20)
    found = find(ixi.DATA_SET, tar)
    assert ids(found) == ["IXI002-Guys-0828"]
    assert "has no end mark" in found.damaged[str(tar)]


def test_links_are_followed_and_loops_are_not(tmp_path):
    elsewhere = touch(tmp_path / "disk2", "IXI002-Guys-0828-T2.nii.gz")
    raw = tmp_path / "raw"
    raw.mkdir()
    (raw / "IXI-T2").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(raw)
    (raw / "self").symlink_to(raw / "self")
    (raw / "IXI012-HH-1211-T2.nii.gz").symlink_to(tmp_path / "not fetched")
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
    assert [scan.files["t2"].path.exists() for scan in found.scans] == [
        True,
        False,
    ]  # a lost scan fails, it is not lost
    assert found.unplaced == (str(raw / "self"),)


def test_names_are_shown_on_one_line_whatever_they_are_made_of(tmp_path):
    odd = os.fsdecode(b"caf\xe9 \n(copy)")
    raw = touch(tmp_path / odd, "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2 (1).nii.gz")
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828"]
    shown = (*found.unplaced, str(found.scans[0].files["t2"]))
    assert all("caf\\udce9 \\n(copy)" in name for name in shown)
    assert "\n".join(shown).encode("utf-8")


def test_two_files_of_one_scan_are_said(tmp_path):
    name = "IXI002-Guys-0828-T2.nii.gz"
    found = find(ixi.DATA_SET, touch(tmp_path, f"a/{name}", f"b/{name}", f"c/{name}.part"))
    assert found.scans[0].files["t2"].path == tmp_path / "a" / name
    assert f"{tmp_path}/a/{name} and {tmp_path}/b/{name} are the same by their names; the first is used" in found.notes


def test_what_lies_above_the_download_says_nothing(tmp_path):
    raw = tmp_path / "raw" / "patient9" / "MSLUB"
    case = ("T2W.nii.gz", "brainmask.nii.gz", "consensus_gt.nii.gz")
    touch(raw, *(f"patient1/{name}" for name in case), *(f"patient1/raw/{name}" for name in case), *case)
    found = find(mslub.DATA_SET, raw)
    assert ids(found) == ["patient01"]
    assert found.scans[0].files["t2"].path == raw / "patient1" / case[0]
    assert len(found.unplaced) == 3


@pytest.mark.parametrize(
    ("info", "names", "words"),
    [
        (ixi.DATA_SET, ("BraTS2021_00000/BraTS2021_00000_t2.nii.gz",), "it looks like BraTS21: bench prepare brats21"),
        (brats21.DATA_SET, ("patient01/patient01_T2W.nii.gz",), "it looks like MSLUB: bench prepare mslub"),
        (mslub.DATA_SET, ("IXI002-Guys-0828-T2.nii.gz",), "it looks like IXI: bench prepare ixi"),
        (ixi.DATA_SET, ("down/IXI-T2.tar.gz", "a.txt"), "unpack .*IXI-T2.tar.gz first"),
    ],
)
def test_another_set_or_a_packed_one_is_recognised(tmp_path, info, names, words):
    with pytest.raises(DataError, match=words):
        find(info, touch(tmp_path, *names))


def test_an_empty_tar_is_no_download(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no IXI download"):
        find(ixi.DATA_SET, packed(tmp_path / "empty", tmp_path / "IXI-T2.tar"))


# ---------------------------------------------------------------------------------------------------------------- ages


def workbook(path: Path, rows: list[tuple]) -> Path:
    """A sheet as IXI.xls has it, in the old binary format."""
    book = xlwt.Workbook()
    sheet = book.add_sheet("Table")
    names = (
        "IXI_ID",
        "SEX_ID (1=m, 2=f)",
        "HEIGHT",
        "WEIGHT",
        "ETHNIC_ID",
        "DOB",
        "DATE_AVAILABLE",
        "STUDY_DATE",
        "AGE",
    )
    for line, (number, age) in enumerate([(names[0], names[-1]), *rows]):
        for column, value in enumerate(names if line == 0 else (number, 1, 164, 58, 1, "1970-01-01", 1, "", age)):
            if value is not None:
                sheet.write(line, column, value)
    path.parent.mkdir(parents=True, exist_ok=True)
    book.save(str(path))
    return path


def test_ages_come_from_the_real_workbook(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz", "IXI012-HH-1211-T2.nii.gz", "IXI013-HH-1212-T2.nii.gz")
    workbook(raw / "IXI.xls", [(2, 35.8), (2, 61.0), (12, None), (12, 38.78), (13, None), (999, 20.5)])
    found = find(ixi.DATA_SET, raw)
    assert found.ages == {"IXI002-Guys-0828": 35.8, "IXI012-HH-1211": 38.78}
    assert found.notes == ("1 of 3 IXI scans have no age in IXI.xls",)


def test_the_sheet_beside_the_tar_is_found(tmp_path):
    raw = touch(tmp_path / "raw", "IXI002-Guys-0828-T2.nii.gz")
    tar = packed(raw, tmp_path / "down" / "IXI-T2.tar")
    assert "no IXI.xls" in find(ixi.DATA_SET, tar).notes[0]
    workbook(tar.with_name("IXI.xls"), [(2, 35.8)])
    assert find(ixi.DATA_SET, tar).ages == {"IXI002-Guys-0828": 35.8}
    tar.with_name("IXI.csv").write_text("IXI_ID,AGE\n2,36\n")
    assert find(ixi.DATA_SET, tar).ages == {"IXI002-Guys-0828": 36.0}


def test_a_workbook_without_its_reader_or_its_columns_is_a_note(tmp_path, monkeypatch):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz")
    workbook(raw / "IXI.xls", [(2, 35.8)])
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "xlrd", None)
        assert "pip install xlrd" in find(ixi.DATA_SET, raw).notes[0]
    (raw / "IXI.csv").write_text("ID;AGE\n2;35\n")
    assert "lacks the columns IXI_ID and AGE" in find(ixi.DATA_SET, raw).notes[0]


def test_a_damaged_workbook_is_a_note_and_prints_nothing(tmp_path, capfd):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz")
    whole = workbook(raw / "IXI.xls", [(number, 20 + number / 9) for number in range(2, 200)]).read_bytes()
    rng = np.random.default_rng(0)
    for attempt in range(200):
        spoilt = bytearray(whole[: rng.integers(1, len(whole))] if attempt % 2 else whole)
        for place in rng.integers(0, len(spoilt), size=20):
            spoilt[place] = rng.integers(0, 256)
        (raw / "IXI.xls").write_bytes(spoilt)
        found = find(ixi.DATA_SET, raw)
        assert ids(found) == ["IXI002-Guys-0828"]
        assert all("\n" not in note for note in found.notes)
    assert capfd.readouterr() == ("", "")


# ------------------------------------------------------------------------------------------- odd members of a tar


NAMES = [f"IXI{number:03d}-HH-{1200 + number}-T2.nii.gz" for number in range(4)]


def sparse_tar(root: Path, tar: Path, form: str) -> Path:
    """A tar as `tar --sparse` makes it: one whole file, one with holes."""
    (root / NAMES[0]).write_bytes(b"whole")
    with (root / NAMES[1]).open("wb") as file:
        for place in (0, 3 << 20, 9 << 20):
            file.seek(place)
            file.write(f"content at {place}".encode() * 99)
        file.truncate(12 << 20)
    subprocess.run(["tar", "-S", f"--format={form}", "-cf", tar, "-C", root, *NAMES[:2]], check=True)
    return tar


@pytest.mark.parametrize("form", ["gnu", "posix"])
def test_sparse_members_are_read_as_tar_writes_them(form, tmp_path):
    (tmp_path / "raw").mkdir()
    tar = sparse_tar(tmp_path / "raw", tmp_path / "IXI-T2.tar", form)
    assert tar.stat().st_size < 1 << 20  # it is sparse
    found = find(ixi.DATA_SET, tar)
    assert ids(found) == ["IXI000-HH-1200", "IXI001-HH-1201"]
    for name, scan in zip(NAMES, found.scans, strict=False):
        with scan.files["t2"].opened() as path:
            assert path.read_bytes() == (tmp_path / "raw" / name).read_bytes()
    with (
        pytest.raises(DataError, match="has 12582912 bytes, more than any scan that is read"),
        found.scans[1].files["t2"].opened(most_bytes=1 << 20),
    ):
        pass
    assert find(ixi.DATA_SET, tar).scans[1].files["t2"] in {pickle.loads(pickle.dumps(found.scans[1].files["t2"]))}


def test_links_in_a_tar_are_followed_and_what_cannot_be_read_fails_with_its_reason(tmp_path):
    tar = tmp_path / "IXI-T2.tar"
    with tarfile.open(tar, "w") as archive:
        whole = tarfile.TarInfo(f"IXI/{NAMES[0]}")
        whole.size = 5
        archive.addfile(whole, io.BytesIO(b"whole"))
        for name, kind, target in (
            (NAMES[1], tarfile.LNKTYPE, f"IXI/{NAMES[0]}"),
            (NAMES[2], tarfile.SYMTYPE, f"../IXI/{NAMES[1]}"),
            (NAMES[3], tarfile.SYMTYPE, "/elsewhere/scan.nii.gz"),
            ("IXI004-HH-1204-T2.nii.gz", tarfile.FIFOTYPE, ""),
            ("IXI005-HH-1205-T2.nii.gz", b"Q", ""),
            ("IXI006-HH-1206-T2.nii.gz", tarfile.SYMTYPE, "IXI006-HH-1206-T2.nii.gz"),
            ("notes.fifo", tarfile.FIFOTYPE, ""),
        ):
            member = tarfile.TarInfo(f"IXI/{name}")
            member.type, member.linkname = kind, target
            archive.addfile(member)
    found = find(ixi.DATA_SET, tar)
    assert len(found.scans) == 7  # none is lost, those that cannot be read fail
    reasons = {}
    for scan in found.scans:
        try:
            with scan.files["t2"].opened() as path:
                reasons[scan.id[:6]] = path.read_bytes().decode()
        except DataError as error:
            reasons[scan.id[:6]] = str(error)
    assert [reasons[f"IXI00{number}"] for number in range(3)] == ["whole"] * 3
    assert reasons["IXI003"] == (
        f"{tar}:IXI/{NAMES[3]} cannot be read: it is a link to /elsewhere/scan.nii.gz, which is no file of the tar; "
        "unpack the tar"
    )
    assert "it is a pipe, no file" in reasons["IXI004"]
    assert "it is of an unknown type (b'Q'), no file" in reasons["IXI005"]
    assert "which is no file of the tar" in reasons["IXI006"]
    assert found.unplaced == (f"{tar}:IXI/notes.fifo",)


def test_packed_archives_beside_scans_are_said(tmp_path):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz", "more.tar.gz")
    packed(touch(tmp_path / "inner", "notes.txt", "deeper.tar"), raw / "outer.TAR")
    notes = " ".join(find(ixi.DATA_SET, raw).notes)
    assert "more.tar.gz" in notes
    assert "outer.TAR:./deeper.tar is packed and was not looked into; unpack it if it holds scans" in notes


def test_pipes_and_devices_in_a_download_do_not_hang(tmp_path):
    raw = touch(tmp_path, "IXI002-Guys-0828-T2.nii.gz")
    for name in ("IXI012-HH-1211-T2.nii.gz", "IXI.xls", "more.tar", "odd"):
        os.mkfifo(raw / name)
    found = find(ixi.DATA_SET, raw)
    assert ids(found) == ["IXI002-Guys-0828", "IXI012-HH-1211"]
    assert "is a pipe and no file" in found.damaged[str(raw / "more.tar")]
    assert found.unplaced == (str(raw / "odd"),)
    with pytest.raises(DataError, match=r"neither a folder nor a plain \.tar"):
        find(ixi.DATA_SET, raw / "odd")


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_a_pair_is_one_file_in_folders_and_tars(suffix, tmp_path):
    raw = touch(tmp_path / "raw", *(f"IXI002-Guys-0828-T2.{kind}{suffix}" for kind in ("hdr", "img")))
    touch(raw, "IXI012-HH-1211-T2.MGZ", "IXI013-HH-1212-T2.NII")
    for place in (raw, packed(raw, tmp_path / "IXI-T2.tar")):
        found = find(ixi.DATA_SET, place)
        assert ids(found) == ["IXI002-Guys-0828", "IXI012-HH-1211", "IXI013-HH-1212"]
        assert not any("same by their names" in note for note in found.notes)
        with found.scans[0].files["t2"].opened() as path:
            assert [part.read_bytes() for part in scan_parts(path)] == [
                f"content of IXI002-Guys-0828-T2.{kind}{suffix}".encode() for kind in ("hdr", "img")
            ]


# ------------------------------------------------------------------------------------- names of copies and other years


@pytest.mark.parametrize(
    ("info", "names", "scan"),
    [
        (
            brats21.DATA_SET,
            (
                "BraTS2021_00495_t2.nii/00000057_brain_t2.nii",
                "BraTS2021_00495_seg.nii/00000057_final_seg.nii",
                "BraTS2021_00495_flair.nii/00000057_brain_flair.nii",
            ),
            "BraTS2021_00495",
        ),
        (brats21.DATA_SET, ("brats2021_00495_T2.nii", "brats2021_00495_SEG.nii"), "BraTS2021_00495"),
        (brats21.DATA_SET, ("BraTS21_Training_00495_t2w.NII.GZ", "BraTS21_00495-seg.nii"), "BraTS2021_00495"),
        (
            ixi.DATA_SET,
            ("ixi002-guys-0828-t2.nii", "IXI002-Guys-0828-T1.nii/IXI002-Guys-0828-T1.nii"),
            "IXI002-Guys-0828",
        ),
        (ixi.DATA_SET, ("IXI012-HH-1211-T2.nii.gz/scan.nii",), "IXI012-HH-1211"),
        (mslub.DATA_SET, ("lesjak_2017/Patient 07/T2W.nii", "lesjak_2017/Patient 07/consensus_gt.nii"), "patient07"),
        (mslub.DATA_SET, ("lesjak_2017/patient-7/patient-7_T2W.nii", "lesjak_2017/patient-7/gt.nii"), "patient07"),
    ],
)
def test_copies_whose_names_leave_no_doubt_are_read(info, names, scan, tmp_path):
    found = find(info, touch(tmp_path, *names))
    assert ids(found) == [scan]
    assert not found.unplaced
    assert found.scans[0].files["t2"].path == tmp_path / names[0]


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (
            ("BraTS20_Training_001/BraTS20_Training_001_t2.nii.gz",),
            "it looks like BraTS 2020 .*get the training set of",
        ),
        (("BraTS20_Validation_001/BraTS20_Validation_001_t2.nii",), "BraTS 2020 "),
        (("HGG/BraTS19_CBICA_AAB_1/BraTS19_CBICA_AAB_1_t2.nii.gz",), "BraTS 2019 "),
        (("HGG/Brats18_2013_2_1/Brats18_2013_2_1_t2.nii.gz",), "BraTS 2018 "),
        (
            ("BraTS-GLI-00000-000/BraTS-GLI-00000-000-t2w.nii.gz",),
            "it looks like BraTS 2023 GLI: bench prepare brats-gli",
        ),
        (("BraTS-MEN-00004-000/BraTS-MEN-00004-000-t2w.nii.gz",), r"BraTS 2023 or later \(MEN\) .*other patients"),
        (("imagesTr/BRATS_001.nii.gz",), "Medical Segmentation Decathlon"),
        (("00000/00000_t2.nii.gz", "00000/00000_seg.nii.gz"), "a copy of BraTS 2021 by numbers alone"),
        (("patient01/study1_T2W.nii.gz",), "longitudinal set of MS patients .*under the same numbers"),
        (("sub-01/anat/sub-01_T2w.nii.gz",), "BIDS: bench prepare bids"),
        (("00000/T2w/Image-1.dcm",), "a DICOM export .*dcm2niix"),
    ],
)
def test_another_year_is_named_and_never_taken_for_the_set(names, words, tmp_path):
    raw = touch(tmp_path, *names)
    for info in (brats21.DATA_SET, ixi.DATA_SET, mslub.DATA_SET):
        with pytest.raises(DataError, match=f"holds no file named like .* {words}") as caught:
            find(info, raw)
        assert "\n" not in str(caught.value)


def test_another_year_among_the_scans_is_said(tmp_path):
    case = ("BraTS2021_00000/BraTS2021_00000_t2.nii.gz", "BraTS2021_00000/BraTS2021_00000_seg.nii.gz")
    raw = touch(tmp_path, *case, *(f"BraTS20_Training_00{n}/BraTS20_Training_00{n}_t2.nii.gz" for n in (1, 2)))
    found = find(brats21.DATA_SET, raw)
    assert ids(found) == ["BraTS2021_00000"]
    assert any("_001_t2.nii.gz and 1 more looks like BraTS 2020 and is left out" in note for note in found.notes)


def test_the_longitudinal_patients_do_not_mix_with_those_of_the_same_numbers(tmp_path):
    """As in a repository that holds both sets of Lesjak."""
    case = ("T2W.nii.gz", "consensus_gt.nii.gz")
    raw = touch(tmp_path, *(f"cross_sectional/raw/patient01/{name}" for name in case))
    touch(raw, "longitudinal/coregistered/patient01/brain_mask.nii.gz", "longitudinal/coregistered/patient01/gt.nii.gz")
    files = find(mslub.DATA_SET, raw).scans[0].files
    assert {kind: str(file.name) for kind, file in files.items()} == {
        "t2": "cross_sectional/raw/patient01/T2W.nii.gz",
        "seg": "cross_sectional/raw/patient01/consensus_gt.nii.gz",
    }


def test_a_download_of_another_modality_is_said(tmp_path):
    with pytest.raises(DataError, match="holds other modalities of IXI alone, such as .*-T1.nii.gz: get its T2 images"):
        find(ixi.DATA_SET, touch(tmp_path, "IXI-T1/IXI002-Guys-0828-T1.nii.gz"))
