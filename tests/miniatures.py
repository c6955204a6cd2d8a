"""Downloads of every data set in miniature: which files there are and where, as its owners ship it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from uadbench.datasets import Modality


@dataclass(frozen=True)
class Miniature:
    """A download as its owners ship it, by the names of its files.

    Attributes:
        modality: of the images that are wanted.
        people: by scan, the person it shows: what is recognised, and nothing else.
        files: every file; names without their order.
        not_needed: how many of them are of the set, but not needed.
        tables: files with a text.
        ages: years by scan, as the tables say.
        sites: sites by scan, as the tables say.
    """

    modality: Modality
    people: Mapping[str, str]
    files: tuple[str, ...]
    not_needed: int = 0
    tables: Mapping[str, str] = field(default_factory=dict)
    ages: Mapping[str, float] = field(default_factory=dict)
    sites: Mapping[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        for name in self.files:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode())
        for name, text in self.tables.items():
            (root / name).write_text(text)
        return root


_T1_T2 = ("T1w", "T2w")
_MNI = "space-MNI152NLin2009aSym"

#: One per registered set: a set without one fails.
MINIATURES = {
    "ixi": Miniature(
        Modality.T2,
        {"IXI002-Guys-0828": "IXI002", "IXI012-HH-1211": "IXI012"},
        (
            "IXI-T2/IXI002-Guys-0828-T2.nii.gz",
            "IXI-T2/IXI012-HH-1211-T2.nii.gz",
            "IXI-T1/IXI002-Guys-0828-T1.nii.gz",
            "IXI-DTI/IXI002-Guys-0828-DTI-00.nii.gz",
        ),
        not_needed=2,
        tables={"IXI.csv": "IXI_ID,AGE\n2,35.8\n"},
        ages={"IXI002-Guys-0828": 35.8},
    ),
    "brats21": Miniature(
        Modality.FLAIR,
        {"BraTS2021_00495": "BraTS2021_00495"},
        tuple(f"BraTS2021_00495/BraTS2021_00495_{kind}.nii.gz" for kind in ("t1", "t1ce", "t2", "flair", "seg")),
        not_needed=3,
    ),
    "mslub": Miniature(
        Modality.T1,
        {"patient07": "patient07"},
        tuple(
            f"patient07/patient07_{kind}.nii.gz"
            for kind in ("T1W", "T1WKS", "T2W", "FLAIR", "brainmask", "consensus_gt")
        ),
        not_needed=3,
    ),
    "oasis1": Miniature(
        Modality.T1,
        {"OAS1_0001_MR1": "OAS1_0001", "OAS1_0061_MR1": "OAS1_0061", "OAS1_0061_MR2": "OAS1_0061"},
        tuple(
            f"disc1/{scan}/{place}{end}"
            for scan in ("OAS1_0001_MR1", "OAS1_0003_MR1", "OAS1_0061_MR1", "OAS1_0061_MR2")
            for place in (
                f"PROCESSED/MPRAGE/T88_111/{scan}_mpr_n4_anon_111_t88_masked_gfc",
                f"PROCESSED/MPRAGE/T88_111/{scan}_mpr_n4_anon_111_t88_gfc",
                f"PROCESSED/MPRAGE/SUBJ_111/{scan}_mpr_n4_anon_sbj_111",
                f"RAW/{scan}_mpr-1_anon",
                f"FSL_SEG/{scan}_mpr_n4_anon_111_t88_masked_gfc_fseg",
            )
            for end in (".hdr", ".img")
        ),
        not_needed=16,
        tables={
            "oasis_cross-sectional.csv": "ID,M/F,Hand,Age,Educ,SES,MMSE,CDR,eTIV,nWBV,ASF,Delay\n"
            "OAS1_0001_MR1,F,R,74,2,3,29,0,1344,0.743,1.306,N/A\n"
            "OAS1_0003_MR1,F,R,73,4,3,27,0.5,1454,0.708,1.207,N/A\n"
            "OAS1_0061_MR1,F,R,20,,,,,1390,0.848,1.263,N/A\n"
            "OAS1_0061_MR2,F,R,20,,,,,1406,0.840,1.248,89\n"
        },
        ages={"OAS1_0001_MR1": 74.0, "OAS1_0061_MR1": 20.0, "OAS1_0061_MR2": 20.0},
    ),
    "camcan": Miniature(
        Modality.T2,
        {"sub-CC110033": "sub-CC110033", "sub-CC110037": "sub-CC110037"},
        tuple(f"anat/{one}/anat/{one}_{kind}.nii.gz" for one in ("sub-CC110033", "sub-CC110037") for kind in _T1_T2),
        not_needed=2,
        tables={"anat/participants.tsv": "participant_id\tage\thand\nsub-CC110033\t24\t100\nsub-CC110037\t18\t78\n"},
        ages={"sub-CC110033": 24.0, "sub-CC110037": 18.0},
    ),
    "hcp_ya": Miniature(
        Modality.T1,
        {"100307": "100307", "100408": "100408"},
        tuple(
            f"HCP_1200/{person}/{file}.nii.gz"
            for person in ("100307", "100408")
            for file in (
                "T1w/T1w_acpc_dc_restore_brain",
                "T1w/T2w_acpc_dc_restore_brain",
                "T1w/T1w_acpc_dc_restore",
                "T1w/brainmask_fs",
                "MNINonLinear/T1w_restore_brain",
                f"unprocessed/3T/T1w_MPR1/{person}_3T_T1w_MPR1",
            )
        ),
        not_needed=8,
        tables={"unrestricted.csv": "Subject,Release,Age\n100307,Q1,26-30\n100408,Q3,36+\n"},
        ages={"100307": 28.0, "100408": 36.0},
    ),
    "wmh2017": Miniature(
        Modality.FLAIR,
        {"Utrecht-0": "Utrecht-0", "GE3T-100": "GE3T-100", "PETMR-160": "PETMR-160"},
        (
            *(
                f"{person}/{file}.nii.gz"
                for person in (
                    "training/Utrecht/0",
                    "training/Amsterdam/GE3T/100",
                    "test/Amsterdam/Philips_VU .PETMR_01./160",
                )
                for file in ("pre/FLAIR", "pre/T1", "pre/3DT1", "orig/FLAIR", "orig/T1", "orig/3DT1_mask", "wmh")
            ),
            "additional_annotations/observer_o3/training/Utrecht/0/result.nii.gz",
        ),
        not_needed=16,
    ),
    "atlas2": Miniature(
        Modality.T1,
        {"sub-r001s001_ses-1": "sub-r001s001", "sub-r009s113_ses-2": "sub-r009s113"},
        (
            *(
                f"ATLAS_2/Training/{cohort}/{one}/{session}/anat/{one}_{session}_{end}.nii.gz"
                for cohort, one, session in (("R001", "sub-r001s001", "ses-1"), ("R009", "sub-r009s113", "ses-2"))
                for end in (f"{_MNI}_T1w", f"{_MNI}_label-L_desc-T1lesion_mask")
            ),
            f"ATLAS_2/Testing/R005/sub-r005s072/ses-1/anat/sub-r005s072_ses-1_{_MNI}_T1w.nii.gz",
        ),
        not_needed=1,
    ),
    "brats-gli": Miniature(
        Modality.T2,
        {"BraTS-GLI-00005-000": "BraTS-GLI-00005", "BraTS-GLI-00005-001": "BraTS-GLI-00005"},
        tuple(
            f"{scan}/{scan}-{kind}.nii.gz"
            for scan in ("BraTS-GLI-00005-000", "BraTS-GLI-00005-001")
            for kind in ("t1n", "t1c", "t2w", "t2f", "seg")
        ),
        not_needed=6,
    ),
    "msseg2016": Miniature(
        Modality.FLAIR,
        dict.fromkeys(("Training-Center_01-Patient_01",), "Training-Center_01-Patient_01")
        | dict.fromkeys(("Testing-Center_01-Patient_01",), "Testing-Center_01-Patient_01"),
        tuple(
            f"{part}/Center_01/Patient_01/{file}.nii.gz"
            for part in ("Training", "Testing")
            for file in (
                *(f"Preprocessed_Data/{kind}_preprocessed" for kind in ("FLAIR", "T1", "T2", "DP", "GADO")),
                *(f"Masks/{kind}" for kind in ("Consensus", "Brain_Mask", "ManualSegmentation_1")),
                "Raw_Data/FLAIR",
            )
        ),
        not_needed=12,
    ),
    "bids": Miniature(
        Modality.T2,
        {"sub-01_ses-1": "sub-01", "sub-01_ses-2": "sub-01", "sub-02_ses-1": "sub-02"},
        (
            "ds/sub-01/ses-1/anat/sub-01_ses-1_T2w.nii.gz",
            "ds/sub-01/ses-2/anat/sub-01_ses-2_acq-tse_run-2_T2w.nii.gz",
            "ds/sub-01/ses-2/anat/sub-01_ses-2_acq-tse_run-1_T2w.nii.gz",
            "ds/sub-02/ses-1/anat/sub-02_ses-1_T2w.nii.gz",
            "ds/sub-02/ses-1/func/sub-02_ses-1_task-rest_bold.nii.gz",
            "ds/derivatives/prep/sub-02/ses-1/anat/sub-02_ses-1_desc-preproc_T2w.nii.gz",
        ),
        not_needed=3,
        tables={"ds/participants.tsv": "participant_id\tage\tsite\nsub-01\t61\tnorth\nsub-02\tn/a\tsouth\n"},
        ages={"sub-01_ses-1": 61.0, "sub-01_ses-2": 61.0},
        sites={"sub-01_ses-1": "north", "sub-01_ses-2": "north", "sub-02_ses-1": "south"},
    ),
    "bids-lesions": Miniature(
        Modality.T1,
        {"sub-01": "sub-01", "sub-02": "sub-02"},
        (
            *(f"sub-{number}/anat/sub-{number}_{kind}.nii.gz" for number in ("01", "02") for kind in _T1_T2),
            "derivatives/masks/sub-01/anat/sub-01_label-lesion_mask.nii.gz",
            "derivatives/masks/sub-02/anat/sub-02_space-orig_label-lesion_mask.nii.gz",
            "derivatives/masks/sub-02/anat/sub-02_space-MNI152NLin6Asym_label-lesion_mask.nii.gz",
            "derivatives/masks/sub-02/anat/sub-02_desc-brain_mask.nii.gz",
        ),
        not_needed=3,
        tables={"participants.tsv": "participant_id\tage\nsub-01\t50\nsub-02\t60\n"},
        ages={"sub-01": 50.0, "sub-02": 60.0},
    ),
}
