"""DICOM files as scanners write them, by pydicom: what the reader's tests read, with a patient planted in every tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

MR, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1"
SCREENSHOT, REPORT = "1.2.840.10008.5.1.4.1.1.7", "1.2.840.10008.5.1.4.1.1.88.11"
STUDY = "1.2.826.0.1.3680043.8.498.47114711"
#: What must never be seen again; some of it in the names of folder and files, too.
PERSONAL = {
    "PatientName": "Zweifel^Annegret",
    "PatientID": "PID4711XY",
    "PatientBirthDate": "19510203",
    "AccessionNumber": "ACC998877",
    "InstitutionName": "Klinik Seeblick",
    "ReferringPhysicianName": "Unverzagt^Kunigunde",
    "StudyDate": "20190817",
    "StudyInstanceUID": STUDY,
}
SECRETS = ("zweifel", "annegret", "pid4711", "19510203", "acc998877", "seeblick", "unverzagt", "20190817", STUDY)


def slice_tags(sop: str = MR, **tags: Any) -> Dataset:
    """A file without its pixels and place: of a 16-bit picture, and of a patient."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = sop
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = Dataset()
    data.file_meta = meta
    values = {
        **PERSONAL,
        "SOPClassUID": sop,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": f"{STUDY}.3",
        "SeriesNumber": 3,
        "SeriesDescription": "t2_tse_tra Zweifel",
        "Modality": "MR",
        "ImageType": ["ORIGINAL", "PRIMARY", "M", "SE"],
        "EchoTime": 90,
        "RepetitionTime": 4000,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": 0,
    }
    for name, value in {**values, **tags}.items():
        setattr(data, name, value)
    return data


def place_tags(affine: NDArray[np.float64], index: int) -> dict[str, list[float]]:
    """Where slice k lies, of voxels (i, j, k) that an RAS affine takes to the world: DICOM counts in LPS."""
    lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine
    sizes = np.linalg.norm(lps[:3, :3], axis=0)
    position = lps @ np.array([0, 0, index, 1.0])
    return {
        "ImagePositionPatient": [_decimal(value) for value in position[:3]],
        "ImageOrientationPatient": [_decimal(value) for value in (lps[:3, :2] / sizes[:2]).T.ravel()],
        "PixelSpacing": [_decimal(sizes[1]), _decimal(sizes[0])],
    }


def slices_of(array: NDArray[np.uint16], affine: NDArray[np.float64], **tags: Any) -> list[Dataset]:
    """A file per slice of an array [k, j, i]."""
    files = []
    for index, picture in enumerate(array):
        data = slice_tags(**{"InstanceNumber": index + 1, **place_tags(affine, index), **tags})
        data.Rows, data.Columns = picture.shape
        data.PixelData = np.ascontiguousarray(picture.astype("<u2")).tobytes()
        files.append(data)
    return files


def save_all(files: Iterable[Dataset], folder: Path, stem: str = "Zweifel") -> Path:
    """Write files under names in no order of slices."""
    folder.mkdir(parents=True, exist_ok=True)
    listed = list(files)
    order = np.random.default_rng(len(listed)).permutation(len(listed))
    for number, data in zip(order, listed, strict=True):
        data.save_as(folder / f"{stem}_{number:04d}", enforce_file_format=True)
    return folder


def enhanced_of(
    array: NDArray[np.uint16],
    affine: NDArray[np.float64],
    order: Sequence[int],
    *,
    echoes: Sequence[float] = (),
    slopes: Sequence[float] = (),
    **tags: Any,
) -> Dataset:
    """One file of all slices, in a given order; what all share stands in the shared groups."""
    data = slice_tags(ENHANCED_MR, **tags)
    del data.EchoTime
    places = [place_tags(affine, index % len(array)) for index in order]
    data.NumberOfFrames = len(order)
    data.Rows, data.Columns = array.shape[1:]
    data.SharedFunctionalGroupsSequence = Items(
        [
            _nested(
                PixelMeasuresSequence={"PixelSpacing": places[0]["PixelSpacing"]},
                PlaneOrientationSequence={"ImageOrientationPatient": places[0]["ImageOrientationPatient"]},
            )
        ]
    )
    groups = []
    for number, place in enumerate(places):
        parts = {"PlanePositionSequence": {"ImagePositionPatient": place["ImagePositionPatient"]}}
        if echoes:
            parts["MREchoSequence"] = {"EffectiveEchoTime": echoes[number]}
        if slopes:
            scale = {"RescaleSlope": slopes[number], "RescaleIntercept": 0, "RescaleType": "US"}
            parts["PixelValueTransformationSequence"] = scale
        groups.append(_nested(**parts))
    data.PerFrameFunctionalGroupsSequence = Items(groups)
    pictures = [array[index % len(array)] + 1000 * (index // len(array)) for index in order]
    data.PixelData = np.stack(pictures).astype("<u2").tobytes()
    return data


def _nested(**sequences: dict[str, Any]) -> Dataset:
    group = Dataset()
    for name, values in sequences.items():
        item = Dataset()
        for key, value in values.items():
            setattr(item, key, value)
        setattr(group, name, Items([item]))
    return group


def _decimal(value: float) -> float:
    """A number that DICOM's sixteen letters hold."""
    return float(f"{value:.8g}")
