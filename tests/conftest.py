"""Fixtures shared by all tests: a tiny data source and a tiny preset on which a cell runs in seconds."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.special import expit

from uadbench.benchmarks.engine.progress import SilentReporter
from uadbench.benchmarks.plan.preset import Preset, load_preset
from uadbench.datasets.cohort import HEALTHY, Cohort, Data, Fold, Part, Splits, Subject
from uadbench.datasets.modality import Modality
from uadbench.datasets.phantom.anatomy import load_atlas
from uadbench.datasets.phantom.subjects import SIZES, PhantomSet, PhantomSize, simulate, subjects
from uadbench.datasets.scans.preparation import PreparedVolume
from uadbench.datasets.store.build import build_store
from uadbench.stopping import WARNING

from cases import TINY

#: Enough people for every part of the split.
SMALL_PHANTOM = PhantomSize("demo", 5, 1, 1, 1, 1, 1)
TINY_SHAPE = (6, 96, 96)


def tiny_brain(key: str, subject: Subject) -> PreparedVolume:
    """A bright-rimmed disc per slice, individual in size; unhealthy ones hold a bright block."""
    rng = np.random.default_rng([("healthy", "tumours", "ms").index(key), int(subject.id.split("-")[-1])])
    _, height, width = TINY_SHAPE
    y, x = np.mgrid[:height, :width]
    radius = np.hypot(y - height / 2 + rng.uniform(-3, 3), x - width / 2)
    edge = rng.uniform(36, 42)
    mask = np.broadcast_to(radius < edge, TINY_SHAPE).copy()
    slice_ = np.where(radius > edge - 8, 0.8, 0.35) + 0.05 * np.cos(x / rng.uniform(4, 9))
    volume = np.where(mask, slice_ + rng.normal(0, 0.01, TINY_SHAPE), 0).clip(0, 1).astype(np.float32)
    if key == HEALTHY:
        return PreparedVolume(volume, mask, None)
    lesion = np.zeros(TINY_SHAPE, dtype=bool)
    top, left = rng.integers(30, 50, size=2)
    lesion[1:5, top : top + 14, left : left + 14] = True
    volume[lesion] = 0.95
    return PreparedVolume(volume, mask, lesion)


def make_tiny_data(folder: Path, name: str = "tiny") -> Data:
    """Eight healthy volumes in two folds, two a test, and two lesion sets of two validation and two test volumes."""
    counts = {HEALTHY: 10, "tumours": 4, "ms": 4}
    cohorts = {}
    for key, count in counts.items():
        subjects = [Subject(f"{key}-{i}", 30.0 + i, "here") for i in range(count)]
        store = build_store(
            folder / key,
            subjects,
            partial(tiny_brain, key),
            {"what": "tiny test brains", "preparation": {"factor": 2}},
            has_lesions=key != HEALTHY,
            jobs=1,
        )
        cohorts[key] = Cohort(f"tiny-{key}", f"tiny {key}", key, store, Modality.T2)
    healthy = [f"healthy-{i}" for i in range(10)]
    folds = (Fold(tuple(healthy[:6]), tuple(healthy[6:8])), Fold(tuple(healthy[2:8]), tuple(healthy[:2])))
    parts = {
        key: Part(tuple(f"{key}-{i}" for i in (0, 1)), tuple(f"{key}-{i}" for i in (2, 3))) for key in ("tumours", "ms")
    }
    splits = Splits("own", folds, tuple(healthy[8:]), parts)
    lesions = {key: cohorts[key] for key in ("tumours", "ms")}
    return Data(name, name, cohorts[HEALTHY], lesions, splits)


@pytest.fixture(scope="session")
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return make_tiny_data(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def tiny_preset() -> Preset:
    return load_preset(str(TINY))


@pytest.fixture(autouse=True)
def _few_threads() -> None:
    """Two threads at most: more only get in each other's way on tiny tensors."""
    torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture(scope="session", autouse=True)
def _ctrl_c_works() -> None:
    """A shell that starts the tests in the background has SIGINT ignored, and every child would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _signals_stay(_ctrl_c_works: None) -> Iterator[None]:
    """A test that left another handler behind would decide what later ones see, in an order that nobody chose."""
    before = _handlers()
    yield
    left = [name for name, handler in _handlers().items() if handler is not before[name]]
    _restore(before)
    assert not left, f"this test left another handler of {', '.join(left)} behind; let it ask for `ending_process`"


@pytest.fixture
def ending_process() -> Iterator[None]:
    """For what a process does last: it gives no signal back to anybody, as nothing comes after it."""
    before = _handlers()
    yield
    _restore(before)


def _handlers() -> dict[str, object]:
    return {number.name: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, WARNING)}


def _restore(handlers: Mapping[str, object]) -> None:
    for name, handler in handlers.items():
        signal.signal(signal.Signals[name], handler)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- a head by formulas


def _soft(points: NDArray[np.float64], centre: Sequence[float], radii: Sequence[float]) -> NDArray[np.float32]:
    """1 inside an ellipsoid, 0 outside, over about 3 mm between."""
    squared = np.zeros(points.shape[:-1], dtype=np.float32)
    for axis in range(3):
        squared += ((points[..., axis] - centre[axis]) / radii[axis]).astype(np.float32) ** 2
    return expit((1 - np.sqrt(squared)) * np.float32(min(radii) / 1.5))


class SyntheticHead:
    """A head given by formulas in world millimetres, so that it can be sampled on any grid without interpolation.

    The brain is egg-shaped and unlike in all directions: ventricles, dark nuclei and a cerebellum aside.
    """

    LESION = (30.0, 20.0, 15.0)

    def sample(
        self, points: NDArray[np.float64], contrast: str, *, skull: bool = True, lesion: float = 0.0
    ) -> NDArray[np.float32]:
        """Intensity at world points [..., 3], "t1" or "t2"; a lesion of that radius is bright on T2."""
        white, grey, fluid, bone = (0.9, 0.6, 0.2, 0.05) if contrast == "t1" else (0.35, 0.5, 1.0, 0.05)
        brain = self._brain(points)
        core = _soft(points, (0, -8, 5), (54, 68, 46))
        image = grey + (white - grey) * core
        for centre, radii in (((8, 10, 12), (8, 30, 10)), ((-12, -5, 10), (10, 22, 14)), ((0, -55, -38), (9, 7, 16))):
            image += (fluid - image) * _soft(points, centre, radii)
        for centre, radii in (((24, 5, 0), (9, 16, 9)), ((-40, -40, 20), (8, 10, 14)), ((35, -50, 30), (10, 6, 8))):
            image += (grey - image) * _soft(points, centre, radii)
        if lesion and contrast == "t2":
            image += (1.2 - image) * _soft(points, self.LESION, (lesion,) * 3)
        scalp = _soft(points, (0, -12, 2), (88, 106, 88)) - _soft(points, (0, -12, 2), (80, 98, 80))
        around = (0.7 * scalp + bone * (1 - scalp)) * _soft(points, (0, -12, 2), (88, 106, 88)) if skull else 0
        return (1000 * (image * brain + around * (1 - brain))).astype(np.float32)

    def brain(self, points: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether world points lie in the brain."""
        return self._brain(points) > 0.5

    def lesion(self, points: NDArray[np.float64], radius: float) -> NDArray[np.bool_]:
        """Whether world points lie in the lesion of that radius."""
        return _soft(points, self.LESION, (radius,) * 3) > 0.5

    def _brain(self, points: NDArray[np.float64]) -> NDArray[np.float32]:
        cerebrum = _soft(points, (0, -12, 8), (64, 82, 56))
        frontal = _soft(points, (12, 35, 10), (40, 36, 40))
        cerebellum = _soft(points, (-4, -60, -38), (44, 34, 26))
        return np.maximum.reduce([cerebrum, frontal, cerebellum])


@pytest.fixture(scope="session")
def head() -> SyntheticHead:
    return SyntheticHead()


def _grid_points(shape: tuple[int, ...], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """World points [Z, Y, X, 3] of the voxels of a (z, y, x) array, by nibabel."""
    import nibabel as nib

    voxels = np.stack(np.meshgrid(*(np.arange(size) for size in shape), indexing="ij"), axis=-1)
    return np.asarray(nib.affines.apply_affine(affine, voxels[..., ::-1]))


@pytest.fixture(scope="session")
def grid_points() -> Callable[..., NDArray[np.float64]]:
    return _grid_points


def _oriented(
    axes: str, sizes: Sequence[float], turn: float = 0.0, extent: float = 208.0
) -> tuple[tuple[int, ...], NDArray[np.float64]]:
    """Shape (z, y, x) and affine of a grid round the head: its voxel axes, such as "PIR", turned about a slant line."""
    from scipy.spatial.transform import Rotation

    codes = {"R": (0, 1), "L": (0, -1), "A": (1, 1), "P": (1, -1), "S": (2, 1), "I": (2, -1)}
    linear = np.zeros((3, 3))
    for column, code in enumerate(axes):
        row, sign = codes[code]
        linear[row, column] = sign
    linear = Rotation.from_rotvec(np.radians(turn) * np.array([0.6, -0.64, 0.48])).as_matrix() @ linear
    counts = np.ceil(extent / np.asarray(sizes)).astype(int)
    affine = np.eye(4)
    affine[:3, :3] = linear * np.asarray(sizes)
    affine[:3, 3] = np.array([0.0, -12.0, 2.0]) - affine[:3, :3] @ ((counts - 1) / 2)
    return tuple(int(count) for count in counts[::-1]), affine


@pytest.fixture(scope="session")
def oriented() -> Callable[..., tuple[tuple[int, ...], NDArray[np.float64]]]:
    return _oriented


class StopAfter(SilentReporter):
    """Presses Ctrl-C after so many steps of the bar whose title begins with a word."""

    def __init__(self, word: str, steps: int) -> None:
        self._word, self._left = word, steps

    @contextmanager
    def bar(self, title: str, total: int, done: int = 0) -> Iterator[StopAfter]:  # type: ignore[override]
        self._active = title.startswith(self._word)
        yield self

    def advance(self, steps: int = 1) -> None:
        self._left -= self._active
        if self._active and self._left <= 0:
            raise KeyboardInterrupt

    def note(self, text: str) -> None: ...


@pytest.fixture(scope="session")
def stop_after() -> Callable[[str, int], SilentReporter]:
    """A reporter that presses Ctrl-C after so many steps of the bar whose title begins with a word."""
    return StopAfter


@pytest.fixture
def small_disk(tmp_path) -> Iterator[Path]:
    """A file system of 160 kB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=160k", "tmpfs", str(place)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


# ------------------------------------------------------------------------------------------- a phantom of a few people


@pytest.fixture(scope="session")
def _small_stores(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The volume stores of the phantom's demo size, cut down to fourteen people."""
    import uadbench

    results = tmp_path_factory.mktemp("phantom") / "results"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "demo", SMALL_PHANTOM)
        uadbench.run("mean-brain", folds=0, results=results, jobs=1, quiet=True)
    return results / "data"


@pytest.fixture
def small_phantom(_small_stores: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory in which `phantom` is that small cohort, prepared already, and nothing was run yet."""
    monkeypatch.setitem(SIZES, "demo", SMALL_PHANTOM)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(_small_stores, tmp_path / "results" / "data")
    return tmp_path


@pytest.fixture(scope="session")
def phantom_scan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A phantom tumour as a scan from anywhere: stripped, in RAS order and MNI millimetres."""
    import nibabel as nib

    subject = subjects(SMALL_PHANTOM, PhantomSet.TUMOURS)[-1]
    scan = simulate(subject, PhantomSet.TUMOURS, 0)
    affine = np.eye(4)
    affine[:3, 3] = load_atlas().origin
    path = tmp_path_factory.mktemp("scan") / "scan.nii.gz"
    nib.save(nib.Nifti1Image(scan.image.transpose(2, 1, 0).astype(np.float32), affine), path)
    return path
