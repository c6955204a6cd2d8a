"""The parts of the phantom: fields, deformations, anatomy, lesions and scanners, against formulas and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from uadbench.datasets.phantom import anatomy as phantom_anatomy
from uadbench.datasets.phantom.anatomy import Anatomy, Push, coordinates, grow, load_atlas
from uadbench.datasets.phantom.fields import (
    evaluate,
    integrate,
    jacobian_determinant,
    linear_basis,
    random_field,
    spline_basis,
    spread,
    stream,
)
from uadbench.datasets.phantom.lesions import MsPlan, TumourPlan, grow_ms, grow_tumour
from uadbench.datasets.phantom.scanner import GUYS, HH, IOP, scan

YOUNG, OLD = 20.0, 86.0


@pytest.fixture(scope="module")
def young() -> Anatomy:
    return grow("somebody", 0, YOUNG)


@pytest.fixture(scope="module")
def old() -> Anatomy:
    return grow("somebody", 0, OLD)


# ------------------------------------------------------------------------------------------------------------- fields


def test_spline_basis_is_scipys_cubic_b_spline() -> None:
    basis = spline_basis(23, 4.0)
    bump = BSpline.basis_element(np.arange(-2.0, 3.0), extrapolate=False)
    for control in range(basis.shape[1]):
        expected = np.nan_to_num(bump(np.arange(23) / 4.0 - (control - 1)))
        np.testing.assert_allclose(basis[:, control], expected, atol=1e-6)
    np.testing.assert_allclose(basis.sum(axis=1), 1, atol=1e-6)


def test_evaluate_is_the_sum_over_control_points() -> None:
    rng = np.random.default_rng(0)
    bases = [rng.standard_normal(shape).astype(np.float32) for shape in ((4, 2), (5, 3), (6, 4))]
    controls = rng.standard_normal((2, 2, 3, 4)).astype(np.float32)
    expected = np.einsum("cabd,za,yb,xd->czyx", controls, *bases)
    np.testing.assert_allclose(evaluate(controls, bases), expected, rtol=1e-4, atol=1e-5)


def test_linear_basis_interpolates() -> None:
    values = np.random.default_rng(1).standard_normal(9)
    where = np.linspace(-1, 9, 40)
    np.testing.assert_allclose(linear_basis(where, 9) @ values, np.interp(where, np.arange(9), values), atol=1e-5)


def test_a_random_field_has_unit_variance_and_its_scale() -> None:
    field = random_field(np.random.default_rng(0), (80, 80, 80), 5.0)
    assert abs(field.mean()) < 0.05 and abs(field.std() - 1) < 0.05
    lag = [np.corrcoef(field[:-step].ravel(), field[step:].ravel())[0, 1] for step in (1, 20)]
    assert lag[0] > 0.9 and abs(lag[1]) < 0.1


def test_streams_are_apart_and_stable() -> None:
    first = stream(0, "a", "warp").random()
    assert first == stream(0, "a", "warp").random()
    others = {stream(*key).random() for key in ((1, "a", "warp"), (0, "b", "warp"), (0, "a", "noise"))}
    assert len(others) == 3 and first not in others


def test_spread_fills_the_unit_interval_evenly() -> None:
    numbers = np.sort([spread(number, 0, "age") for number in range(50)])
    assert numbers[0] >= 0 and numbers[-1] < 1
    assert np.diff(np.concatenate([[numbers[-1] - 1], numbers])).max() < 3 / 50


def test_integration_follows_the_flow() -> None:
    """A rotation is known in closed form, and the flow of -v undoes the flow of v."""
    z, y, x = np.indices((5, 41, 41), dtype=np.float32)
    y, x = y - 20, x - 20
    fade = np.exp(-(((y**2 + x**2) / 300) ** 4))
    angle = 0.5
    velocity = np.stack([0 * z, -angle * x * fade, angle * y * fade]).astype(np.float32)
    moved = integrate(velocity)
    point = (2, 20 + 6, 20 + 3)
    expected = np.array([6 * np.cos(angle) - 3 * np.sin(angle), 6 * np.sin(angle) + 3 * np.cos(angle)])
    np.testing.assert_allclose(np.array([6, 3]) + moved[(slice(1, 3), *point)], expected, atol=0.05)
    back = integrate(-velocity)
    inner = (slice(None), slice(1, 4), slice(10, 31), slice(10, 31))
    grid = np.indices((5, 41, 41), dtype=np.float32)
    there = grid + moved
    from scipy.ndimage import map_coordinates

    again = there + np.stack([map_coordinates(part, there, order=1, mode="nearest") for part in back])
    assert np.abs(again - grid)[inner].max() < 0.1


def test_jacobian_determinant_of_an_affine_map_is_its_determinant() -> None:
    matrix = np.array([[1.2, 0.1, 0], [0, 0.9, 0.2], [0.1, 0, 1.1]])
    mapped = np.einsum("ij,jzyx->izyx", matrix, np.indices((6, 6, 6))).astype(np.float32)
    np.testing.assert_allclose(jacobian_determinant(mapped), np.linalg.det(matrix), rtol=1e-4)
    folded = mapped.copy()
    folded[0] *= -1
    assert (jacobian_determinant(folded) < 0).all()


# ------------------------------------------------------------------------------------------------------------ anatomy


@pytest.mark.parametrize(("subject", "age", "strength"), [("a", YOUNG, 0.0), ("b", OLD, 0.0), ("c", OLD, 0.45)])
def test_every_deformation_is_invertible(subject, age, strength) -> None:
    push = Push((85.0, 100.0, 50.0), 40.0, strength) if strength else None
    determinant = jacobian_determinant(coordinates(subject, 0, age, push))
    assert determinant.min() > 0.02 and determinant.max() < 12


def test_a_mass_pushes_tissue_away() -> None:
    """Pulled back, points around the mass come from nearer to its centre."""
    centre = np.array((85.0, 100.0, 50.0))
    push = Push((85.0, 100.0, 50.0), 20.0, 0.4)
    free, pushed = (coordinates("d", 0, YOUNG, mass) for mass in (None, push))
    origin = free[:, 85, 100, 50]
    for step in ((12, 0, 0), (0, -15, 0), (0, 0, 18)):
        place = tuple((centre + step).astype(int))
        before, after = (np.linalg.norm(where[(slice(None), *place)] - origin) for where in (free, pushed))
        assert after < before - 2


def test_fractions_sum_to_one_below_the_rim(young) -> None:
    total = young.fluid + young.grey + young.white
    assert total.max() < 1 + 1e-5 and young.fluid.min() >= 0
    np.testing.assert_allclose(total[young.depth > 4], 1, atol=1e-4)
    assert not total[~young.brain].any()


def test_tissue_volumes_are_a_brains(young) -> None:
    inside = young.brain.sum()
    assert 0.35 < young.grey.sum() / inside < 0.6
    assert 0.25 < young.white.sum() / inside < 0.45
    partial = (young.grey > 0.05) & (young.grey < 0.95) & young.brain
    assert partial.sum() > 0.1 * inside, "labels are hard: partial volume is lost"


def test_ventricles_and_sulci_widen_with_age(young, old) -> None:
    inner, outer = (young.ventricle_distance, old.ventricle_distance)
    ventricles = [(part.fluid * (distance < 1)).sum() for part, distance in ((young, inner), (old, outer))]
    sulci = [(part.fluid * part.cortex).sum() for part in (young, old)]
    assert ventricles[1] > 1.5 * ventricles[0]
    assert sulci[1] > 1.3 * sulci[0]


# ------------------------------------------------------------------------------------------------------------ lesions


@pytest.mark.parametrize(("volume", "share"), [(8.0, 0.5), (90.0, 0.3), (240.0, 0.4)])
def test_a_tumours_volume_is_exact_and_its_oedema_follows_white_matter(young, volume, share) -> None:
    plan = TumourPlan((85, 125, 50), volume, share, Push((85.0, 125.0, 50.0), 20.0, 0.3))
    lesions = grow_tumour(young, plan, "somebody", 0)
    assert abs(lesions.mask.sum() / 1000 - volume) < 0.02 * volume
    assert not (lesions.mask & ~young.brain).any()
    surrounding = young.brain & ~lesions.mask & (young.depth > 3)
    assert young.white[lesions.mask].mean() > young.white[surrounding].mean()
    assert lesions.paint.weight.min() >= 0 and lesions.paint.weight.max() <= 1
    inside = lesions.paint.water[lesions.mask & (lesions.paint.weight > 0.9)]
    assert inside.std() > 0.04, "the inside is heterogeneous"


@pytest.mark.parametrize(("load", "count"), [(0.3, 17), (28.0, 120)])
def test_ms_lesions_have_their_load_and_lie_in_white_matter(young, load, count) -> None:
    lesions = grow_ms(young, MsPlan(load, count), "somebody", 0)
    # None is below 4 mm³, so that a small load may grow a little.
    assert -0.01 * load < lesions.mask.sum() / 1000 - load < 0.01 * load + 0.004 * count
    assert (young.white + young.grey)[lesions.mask].mean() > 0.8
    assert young.white[lesions.mask].mean() > 1.3 * young.white[young.brain].mean()


def test_large_ms_lesions_lie_along_the_ventricles(young) -> None:
    lesions = grow_ms(young, MsPlan(40.0, 60), "somebody", 0)
    white = young.white > 0.6
    assert np.median(young.ventricle_distance[lesions.mask]) < 0.7 * np.median(young.ventricle_distance[white])


# ------------------------------------------------------------------------------------------------------------ scanner


def test_sites_differ_in_noise_and_contrast(young) -> None:
    images = {site.name: scan(young, site, "somebody", 0, YOUNG) / site.gain for site in (GUYS, HH, IOP)}
    core = (young.white > 0.98) & (young.depth > 12)
    rough = {name: (image[:, :, 1:] - image[:, :, :-1])[core[:, :, 1:]].std() for name, image in images.items()}
    assert rough["IOP"] > 1.3 * rough["HH"]
    assert np.ptp([np.median(image[core]) for image in images.values()]) > 0.01


def test_grey_values_are_those_measured_on_real_scans(young, old) -> None:
    """White matter 0.28 to 0.34, grey 0.32 to 0.40, fluid 0.6 to 1.0 after the 1st to 99th percentile."""
    for anatomy, site, age in ((young, GUYS, YOUNG), (old, IOP, OLD), (young, HH, YOUNG)):
        image = scan(anatomy, site, "somebody", 0, age)
        low, high = np.percentile(image[anatomy.brain], (1, 99))
        scaled = np.clip((image - low) / (high - low), 0, 1)
        white, grey, fluid = (
            np.median(scaled[anatomy.brain & (tissue > 0.9)]) for tissue in (anatomy.white, anatomy.grey, anatomy.fluid)
        )
        assert 0.26 < white < 0.36
        assert 0.32 < grey < 0.44 and grey > white + 0.03
        assert 0.6 < fluid <= 1


def test_the_atlas_knows_left_from_right_and_both_ventricles() -> None:
    atlas = load_atlas()
    middle = round(-atlas.origin[0])
    ventricles = atlas.ventricle_distance == 0
    left, right = ventricles[:, :, :middle].sum(), ventricles[:, :, middle + 1 :].sum()
    assert left > 2500 and 0.8 < left / right < 1.25
    assert phantom_anatomy.load_atlas() is atlas
