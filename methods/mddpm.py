"""mDDPM: a diffusion model regularised by masks in image and frequency domain (Iqbal et al. 2023, arXiv:2305.19867).

In training, before noise is added, the slice is spoiled; the network must give back the unspoiled slice, so it learns
to repair as well as to denoise. A lesion at test time is then one more thing to repair. There are three kinds of
masks: image patch-masking (IPM, masked image modelling), frequency patch-masking (FPM, masked frequency modelling) and
FPM with CutMix (CM), in which rectangles cut from the frequency-masked slice are pasted into the slice itself. Only the
last is in the published code; it is ours (`masking.kind = "cutmix"`), the others can be chosen.

Where the facts come from. The abstract, the published README (the names of the three kinds; what they do, as secondary
sources tell it) and the published code (github.com/hasan1292/mDDPM; its training file as a fork kept it). There:

* The basis is the patched diffusion model, `pddpm` at stride 48: noise in one of four 48×48 patches, loss in that patch
  only, simplex noise, x0 prediction, l1, test from t = 500 in one step.
* 0 to 5 rectangles per slice, their sides between 9 % and 18 % of the brain's height, 5 pixels inside its bounding box.
* One frequency mask per slice: the square of the 2 to 10 lowest frequencies is removed, or all but it, as likely.
* The spoiled slice, cut to the brain, is noised in the patch and shown clean outside it; the target is the slice.
* No masks in validation nor at test.

What stays open or differs. The method section of the paper was not at hand: whether it masks more, what IPM's and plain
FPM's sizes are (here: IPM takes the same rectangles and sets them to zero, FPM filters the whole slice), and which kind
its table's last row uses are not known. The code's square of frequencies reaches from -b to b - 1 and the imaginary
part it leaves is dropped; ours is symmetric. The code has a cosine schedule; here noise and schedule are those of every
row. The diffusion lives in [-1, 1], there as here.
"""

from __future__ import annotations

from torch import Tensor

from .base import Batch, MethodInfo, Row
from .parts.masking import MaskingSettings, masked
from .parts.patch_diffusion import PatchDiffusion
from .pddpm import PDDPMSettings
from .registry import register


class MDDPMSettings(PDDPMSettings):
    """pDDPM's settings and the masks."""

    masking: MaskingSettings


@register
class MDDPM(PatchDiffusion):
    """Patched diffusion model that repairs masked slices."""

    info = MethodInfo(
        name="mddpm",
        title="mDDPM",
        citation=(
            "H. Iqbal, U. Khalid, C. Chen, J. Hua. Unsupervised anomaly detection in medical images using masked "
            "diffusion model. Machine Learning in Medical Imaging (MLMI), 2023."
        ),
        year=2023,
        rows=(Row("mddpm", "mDDPM", {"patch.stride": 48}),),
        paper="Iqbal et al. 2023",
        note=(
            "mDDPM is pDDPM (s48) trained with its published code's masks (rectangles of the frequency-masked slice); "
            "the sizes of the paper's other two kinds of masks are not known."
        ),
    )
    Settings = MDDPMSettings

    def __init__(self, settings: MDDPMSettings) -> None:
        super().__init__(settings, settings.patch)
        self._masking = settings.masking

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the l1 error inside one random patch an image, the network seeing masked slices."""
        return self._loss(batch, masked(batch.image, batch.brain_mask, batch.seed, self._masking))
