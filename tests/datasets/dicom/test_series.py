"""DICOM series against the same head as NIfTI, which nibabel writes; and all that can be wrong with them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from dicom_files import (
    PERSONAL,
    REPORT,
    SCREENSHOT,
    SECRETS,
    STUDY,
    enhanced_of,
    save_all,
    slice_tags,
    slices_of,
)
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from uadbench.datasets.dicom import header, stack
from uadbench.datasets.dicom.header import NoImage
from uadbench.datasets.dicom.series import FoundSeries, files_below, find_series, technique_of
from uadbench.datasets.dicom.stack import open_series
from uadbench.datasets.scans.native import OpenedScan, open_scan
from uadbench.datasets.scans.scan_header import ReadLimits
from uadbench.errors import UserError

SIZES = (6.0, 7.0, 8.0)
Head = tuple[np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def sampled(head, oriented, grid_points) -> Callable[..., Head]:
    """The synthetic head as whole numbers on a grid of some orientation, and its affine."""

    def sample(axes: str = "LPS", turn: float = 0.0, sizes: tuple[float, ...] = SIZES) -> Head:
        shape, affine = oriented(axes, sizes, turn)
        return head.sample(grid_points(shape, affine), "t2").round().astype(np.uint16), affine

    return sample


@pytest.fixture
def files(sampled) -> list[pydicom.Dataset]:
    """One file per slice of an axial head."""
    return slices_of(*sampled())


def found(folder: Path) -> FoundSeries:
    return find_series(files_below(folder), "the DICOM input")


def opened(folder: Path, *words: str, limits: ReadLimits = ReadLimits(is_head=True)) -> OpenedScan:  # noqa: B008
    (series,) = found(folder).choose(words)
    return open_series(series, "the series", limits)


def refused(folder: Path, *words: str, **more: object) -> str:
    with pytest.raises(UserError) as caught:
        opened(folder, *words, **more)
    said = str(caught.value)
    assert not [secret for secret in SECRETS if secret in said.lower()] and "\n" not in said
    return said


# -------------------------------------------------------------------------------------------------- the same as NIfTI


@pytest.mark.parametrize(("axes", "turn"), [("LPS", 0), ("LPS", 17), ("PIR", 0), ("LIA", -9), ("RAS", 25), ("SLP", 0)])
def test_a_head_is_the_same_as_nifti_and_as_dicom(axes, turn, sampled, tmp_path):
    array, affine = sampled(axes, turn)
    nib.save(nib.Nifti1Image(array.transpose(2, 1, 0), affine), tmp_path / "head.nii.gz")
    nifti = open_scan(tmp_path / "head.nii.gz")
    scan = opened(save_all(slices_of(array, affine), tmp_path / "dicom"))
    np.testing.assert_array_equal(scan.image, nifti.image)
    np.testing.assert_allclose(scan.grid.affine, nifti.grid.affine, atol=1e-4)
    _check_places(scan, array, affine)


def _check_places(scan: OpenedScan, array: np.ndarray, affine: np.ndarray) -> None:
    """Each voxel of the scan's own space lies where the voxel of that value was put."""
    assert (scan.native.sform_code, scan.native.qform_code, scan.native.unit) == (1, 1, "mm")
    voxels = np.argwhere(np.ones(scan.native.grid.shape, dtype=bool))[::57]
    world = scan.native.grid.world(voxels.astype(float))
    source = np.rint(nib.affines.apply_affine(np.linalg.inv(affine), world)).astype(int)
    np.testing.assert_allclose(nib.affines.apply_affine(affine, source), world, atol=1e-3)
    back = np.rint(nib.affines.apply_affine(np.linalg.inv(scan.grid.affine), world)).astype(int)
    np.testing.assert_array_equal(scan.image[tuple(back.T[::-1])], array[tuple(source.T[::-1])])


def test_an_enhanced_file_is_read_by_where_its_frames_say_that_they_lie(sampled, tmp_path):
    array, affine = sampled("PIR", 12)
    order = np.random.default_rng(1).permutation(len(array)).tolist()
    save_all([enhanced_of(array, affine, order)], tmp_path / "one")
    scan = opened(tmp_path / "one")
    np.testing.assert_array_equal(scan.image, opened(save_all(slices_of(array, affine), tmp_path / "many")).image)
    _check_places(scan, array, affine)


def test_the_volumes_of_an_enhanced_file_are_told_apart_by_their_echoes(sampled, tmp_path):
    array, affine = sampled()
    order = [index for pair in zip(range(len(array)), range(len(array), 2 * len(array)), strict=True) for index in pair]
    folder = save_all([enhanced_of(array, affine, order, echoes=[20.0, 90.0] * len(array))], tmp_path / "one")
    assert "3a: t2 tse tra, TR 4000 ms, TE 20 ms, 26 slices of 35 x 30; 3b: " in refused(folder)
    second = opened(folder, "3b")
    np.testing.assert_array_equal(second.image, opened(folder, "3a").image + 1000)
    _check_places(second, array + 1000, affine)


def test_every_file_is_scaled_by_its_own_slope(files, sampled, tmp_path):
    for number, data in enumerate(files):
        data.RescaleSlope, data.RescaleIntercept = 1 + number / 8, -number
    array, affine = sampled()
    numbers = np.arange(len(array))[:, None, None]
    _check_places(opened(save_all(files, tmp_path / "a")), array * (1 + numbers / 8) - numbers, affine)


def _rle(data: pydicom.Dataset) -> None:
    data.compress(RLELossless)


def _deflated(data: pydicom.Dataset) -> None:
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian


def _by_itk(compressor: str) -> Callable[[pydicom.Dataset], None]:
    def pack(data: pydicom.Dataset) -> None:
        """The pixels as ITK packs them; all other tags stay."""
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/packed.dcm"
            writer = sitk.ImageFileWriter()
            writer.SetFileName(path)
            writer.UseCompressionOn()
            writer.SetCompressor(compressor)
            writer.Execute(sitk.GetImageFromArray(data.pixel_array))
            other = pydicom.dcmread(path)
        data.PixelData = encapsulate(list(generate_frames(other.PixelData, number_of_frames=1)))
        data["PixelData"].VR = "OB"
        data.file_meta.TransferSyntaxUID = other.file_meta.TransferSyntaxUID

    return pack


@pytest.mark.parametrize("pack", [_rle, _deflated, _by_itk("JPEG"), _by_itk("JPEG2000")])
def test_compressed_files_are_read(pack, files, sampled, tmp_path):
    for data in files:
        pack(data)
    assert files[0].file_meta.TransferSyntaxUID != pydicom.uid.ExplicitVRLittleEndian
    _check_places(opened(save_all(files, tmp_path / "a")), *sampled())


def test_lossy_compression_is_remarked(files, tmp_path):
    files[0].LossyImageCompression = "01"
    assert (
        opened(save_all(files, tmp_path / "a")).native.remark == "DICOM: its pixels have been through lossy compression"
    )


# ------------------------------------------------------------------------------------------------------ what is refused


def test_a_missing_slice_is_named(files, tmp_path):
    del files[7]
    said = refused(save_all(files, tmp_path / "a"))
    assert (
        "1 slice missing between slices 7 and 8 of 25 along their normal" in said and "16.00 mm instead of 8.00" in said
    )


def test_several_missing_slices_are_counted(files, tmp_path):
    del files[7:10]
    assert "3 slices missing between slices 7 and 8 of 23" in refused(save_all(files, tmp_path / "a"))


def test_a_doubled_slice_is_named(files, sampled, tmp_path):
    files.append(slices_of(*sampled())[4])
    said = refused(save_all(files, tmp_path / "a"))
    assert "has 1 place with more than one slice, the first at " in said and "(slices 5 and 6 of 27 " in said


def test_a_series_of_two_times_is_refused(files, sampled, tmp_path):
    assert "has 26 places with more than one slice" in refused(save_all(files + slices_of(*sampled()), tmp_path / "a"))


def test_uneven_gaps_are_named(files, tmp_path):
    for data in files[11:]:
        x, y, z = (float(value) for value in data.ImagePositionPatient)
        data.ImagePositionPatient = [x, y, z + 1.5]
    said = refused(save_all(files, tmp_path / "a"))
    assert "unevenly spaced slices: 9.50 mm between slices 11 and 12 of 26" in said and "8.00 mm usually" in said


def test_rounded_positions_are_even(files, sampled, tmp_path):
    for data in files:
        data.ImagePositionPatient = [round(float(value), 1) for value in data.ImagePositionPatient]
    assert opened(save_all(files, tmp_path / "a")).image.shape == sampled()[0].shape


def test_a_slice_aside_is_named(files, tmp_path):
    x, y, z = (float(value) for value in files[5].ImagePositionPatient)
    files[5].ImagePositionPatient = [x + 3, y, z]
    assert "slice 6 of 26 along their normal is 3.0 mm aside" in refused(save_all(files, tmp_path / "a"))


def test_mixed_orientations_are_an_error(files, sampled, tmp_path):
    files += slices_of(*sampled("PIR"))[:14]
    said = refused(save_all(files, tmp_path / "a"))
    assert "mixes slices of several orientations: 14 of 40 are unlike" in said or "26 of 40 are unlike" in said


def test_mixed_sizes_are_an_error(files, tmp_path):
    files[3].PixelSpacing = [6.5, 6.0]
    assert "mixes slices of several voxel sizes: 1 of 26" in refused(save_all(files, tmp_path / "a"))


def test_too_many_voxels_are_refused_before_a_pixel_is_read(files, tmp_path, monkeypatch):
    monkeypatch.setattr(stack, "_decode", lambda *_: pytest.fail("read"))
    limits = ReadLimits(max_voxels=26 * 30 * 35 - 1)
    said = refused(save_all(files, tmp_path / "a"), limits=limits)
    assert "has 35 x 30 x 26 voxels, more than the 27299 that are read" in said


def test_an_enhanced_file_of_many_more_frames_is_not_read_either(sampled, tmp_path, monkeypatch):
    array, affine = sampled()
    monkeypatch.setattr(stack, "_decode", lambda *_: pytest.fail("read"))
    order = list(range(2 * len(array)))
    echoes = [20.0] * len(array) + [90.0] * len(array)
    folder = save_all([enhanced_of(array, affine, order, echoes=echoes)], tmp_path / "a")
    assert "has 35 x 30 x 52 voxels" in refused(folder, "3a", limits=ReadLimits(max_voxels=array.size + 1))


def test_frames_that_are_scaled_unlike_are_refused(sampled, tmp_path):
    """GDCM would scale all by the first one's slope."""
    array, affine = sampled()
    data = enhanced_of(array, affine, range(len(array)), slopes=[1.0 + index for index in range(len(array))])
    assert "scales the frames of one file unlike" in refused(save_all([data], tmp_path / "a"))


def test_what_spans_no_head_is_refused(sampled, tmp_path):
    array, affine = sampled()
    small = np.diag([0.1, 0.1, 0.1, 1.0]) @ affine
    assert "which no head does" in refused(save_all(slices_of(array, small), tmp_path / "a"))


def test_an_unknown_compression_is_named(files, tmp_path):
    files[0].file_meta.TransferSyntaxUID = pydicom.uid.UID("1.2.840.10008.1.2.4.201")
    said = refused(save_all([_encapsulated(files[0]), *files[1:]], tmp_path / "a"))
    assert "is compressed as High-Throughput JPEG 2000" in said and "decompress it first" in said


def _encapsulated(data: pydicom.Dataset) -> pydicom.Dataset:
    data.PixelData = encapsulate([data.PixelData])
    data["PixelData"].VR = "OB"
    return data


@pytest.mark.parametrize("cut", [0.97, 0.6])
def test_a_file_that_is_cut_short_is_named(cut, files, tmp_path):
    folder = save_all(files, tmp_path / "Zweifel")
    path = folder / "Zweifel_0009"
    content = path.read_bytes()
    path.write_bytes(content[: int(cut * len(content))])
    assert "cannot be decoded, as if it were cut short" in refused(folder)


def test_a_file_that_is_cut_in_its_header_is_named_by_its_place(files, tmp_path):
    folder = save_all(files, tmp_path / "Zweifel")
    path = folder / "Zweifel_0009"
    path.write_bytes(path.read_bytes()[:900])
    said = refused(folder)
    assert said.startswith(
        "the DICOM input: file 10 in the order of their names says that it is an image and holds none"
    )


def test_a_damaged_header_is_named_by_its_place(files, tmp_path):
    files[0].add_new(0x00200037, "DS", [1, 0, 0, 0, 1, 0])
    folder = save_all(files, tmp_path / "Zweifel")
    path = folder / "Zweifel_0003"
    content = path.read_bytes()
    at = content.index(b"\x28\x00\x30\x00DS")  # its voxel size
    path.write_bytes(content[: at + 8] + b"q\\" + content[at + 10 :])
    assert "file 4 in the order of their names cannot be read as DICOM" in refused(folder)


# ------------------------------------------------------------------------------------------- several series in a folder


def _series(number: int, files: list[pydicom.Dataset], **tags: object) -> list[pydicom.Dataset]:
    for data in files:
        data.SeriesNumber, data.SeriesInstanceUID = number, f"{STUDY}.{number}"
        for name, value in tags.items():
            setattr(data, name, value)
    return files


@pytest.fixture
def study(sampled, tmp_path) -> Path:
    """A localiser in three directions, a T2, a FLAIR, a screenshot, a report, and what lies about."""
    folder = tmp_path / "ZWEIFEL_ANNEGRET"
    planes = [data for axes in ("LPS", "PIR", "LIA") for data in slices_of(*sampled(axes))[10:13]]
    save_all(_series(1, planes, SeriesDescription="Localizer"), folder / "1")
    save_all(_series(2, slices_of(*sampled())), folder / "2")
    flair = {"SeriesDescription": "FLAIR sag Annegret", "EchoTime": 110, "InversionTime": 2500}
    save_all(_series(7, slices_of(*sampled("PIR")), **flair), folder / "7")
    save_all([slice_tags(SCREENSHOT, Rows=2, Columns=2, PixelData=bytes(8), NumberOfFrames=1)], folder / "8")
    save_all([slice_tags(REPORT)], folder / "9")
    (folder / "readme.txt").write_text("Zweifel")
    (folder / "empty").touch()
    return folder


def test_several_series_are_listed_without_the_patient(study):
    said = refused(study)
    assert said == (
        "the DICOM input holds 2 series, choose with --series: "
        "2: t2 tse tra, TR 4000 ms, TE 90 ms, 26 slices of 35 x 30; "
        "7: flair sag, TR 4000 ms, TE 110 ms, TI 2500 ms, 26 slices of 35 x 30"
    )


def test_a_series_is_chosen_by_number_or_uid(study, sampled):
    by_number, by_uid = (found(study).choose([word]) for word in ("7", f"{STUDY}.7"))
    assert by_number == by_uid and by_number[0].label == "7"
    _check_places(open_series(by_number[0], "the series"), *sampled("PIR"))
    assert [one.label for one in found(study).choose(["7", "2"])] == ["7", "2"]


def test_a_series_that_is_not_there_is_told_with_those_that_are(study):
    said = refused(study, "5")
    assert (
        said.startswith("--series 5 is none of the DICOM input, which holds: 1: localizer") and "7: flair sag" in said
    )


def test_what_is_no_image_is_counted(study):
    assert dict(found(study).passed_over) == {
        NoImage.OTHER: 1,
        NoImage.EMPTY: 1,
        NoImage.WITHOUT_PIXELS: 1,
        NoImage.WITHOUT_PLACE: 1,
    }
    assert "the DICOM input: passed over 1 x no DICOM file" in found(study).notes()


def test_a_localiser_is_passed_over_where_one_volume_is_left(study):
    for path in (study / "7").iterdir():
        path.unlink()
    assert [one.label for one in found(study).choose(())] == ["2"]


def test_a_localiser_that_does_not_say_so_is_one_by_its_directions(study):
    (localiser,) = found(study).choose(["1"])
    assert localiser.is_localiser
    for path in (study / "1").iterdir():
        data = pydicom.dcmread(path)
        data.SeriesDescription = "three"
        data.save_as(path)
    assert found(study).choose(["1"])[0].is_localiser


def test_a_folder_without_a_volume_says_what_there_is(study, files, tmp_path):
    save_all(_series(4, files, Modality="CT"), study / "4")
    for part in ("2", "7"):
        for path in (study / part).iterdir():
            path.unlink()
    said = refused(study)
    assert "holds no MR volume (1 x localiser, 1 x series of CT, " in said and "1 x empty" in said
    empty = tmp_path / "empty"
    empty.mkdir()
    assert "holds no MR volume (no files)" in refused(empty)


def test_series_of_one_number_get_letters(files, sampled, tmp_path):
    save_all(files, tmp_path / "a" / "1")
    save_all(_series(3, slices_of(*sampled("PIR")), SeriesInstanceUID=f"{STUDY}.9"), tmp_path / "a" / "2")
    assert [one.label for one in found(tmp_path / "a").series] == ["3a", "3b"]
    assert "3a: t2" in refused(tmp_path / "a") and "--series 3 is none of" in refused(tmp_path / "a", "3")


def test_the_echoes_of_a_series_are_volumes(files, sampled, tmp_path):
    array, affine = sampled()
    folder = save_all(files + slices_of(array // 2, affine, EchoTime=20), tmp_path / "a")
    by_echo = {one.slices[0].echo_ms: one.label for one in found(folder).series}
    assert set(by_echo) == {20.0, 90.0} and set(by_echo.values()) == {"3a", "3b"}
    np.testing.assert_array_equal(opened(folder, by_echo[20.0]).image, opened(folder, by_echo[90.0]).image // 2)


def test_colours_are_passed_over(files, tmp_path):
    for data in files:
        data.SamplesPerPixel = 3
    assert "26 x colour image" in refused(save_all(files, tmp_path / "a"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("t2_tse_tra_320_Zweifel", "t2 tse tra"),
        ("Dr. Unverzagt: FLAIR", "flair"),
        ("Annegret", ""),
        ("AX T2 FRFSE 19510203", "ax t2 frfse"),
    ],
)
def test_of_a_description_only_the_words_of_the_field_are_shown(text, shown):
    assert technique_of(text, None, (None, None)) == shown


def test_no_personal_tag_is_ever_read(files, tmp_path):
    folder = save_all(files, tmp_path / "a")
    tags = header._read_tags(folder / "Zweifel_0000")
    assert "Rows" in tags and not [name for name in PERSONAL if name in tags]
