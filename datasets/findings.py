"""What an audit of a split finds, and the error of a split that leaks."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..errors import DataError, shorten

_SHOWN_FINDINGS = 6


class Problem(StrEnum):
    """The kinds of finding an audit of a split can make.

    The first two are leaks: numbers computed on such a split are not what they claim to be.
    """

    SCAN_IN_TWO_PARTS = "scan-in-two-parts"
    SUBJECT_IN_TWO_PARTS = "subject-in-two-parts"
    DUPLICATE_ROWS = "duplicate-rows"
    VALIDATION_OVERLAP = "validation-overlap"
    MISSING_FILE = "missing-file"


@dataclass(frozen=True)
class SplitFinding:
    """One thing that an audit found.

    Attributes:
        kind: what it is.
        part_a: the part it was found in, e.g. "IXI train".
        part_b: the other part, or None for a finding within one part.
        fold: the fold of a train or validation part; None where folds play no role.
        scans: the scans concerned (for a subject in two parts: its scans of both parts), sorted.
    """

    kind: Problem
    part_a: str
    part_b: str | None
    fold: int | None
    scans: tuple[str, ...]

    @property
    def is_leak(self) -> bool:
        """Whether the same person is on both sides of a line that evaluation draws."""
        return self.kind in (Problem.SCAN_IN_TWO_PARTS, Problem.SUBJECT_IN_TWO_PARTS)

    def __str__(self) -> str:
        where = self.part_a if self.part_b is None else f"{self.part_a} and {self.part_b}"
        if self.fold is not None:
            where = f"fold {self.fold}: {where}"
        return f"{self.kind} ({where}): {shorten(self.scans)}"


class LeakError(DataError):
    """A split in which the same scan or person stands in two parts.

    Args:
        remedy: what the user can do about it.
        findings: the leaks; all of them are kept, the message lists the first few.
    """

    def __init__(self, remedy: str, findings: tuple[SplitFinding, ...]) -> None:
        self.remedy = remedy
        self.findings = findings
        listed = "; ".join(str(finding) for finding in findings[:_SHOWN_FINDINGS])
        if len(findings) > _SHOWN_FINDINGS:
            listed += f"; and {len(findings) - _SHOWN_FINDINGS} more findings"
        super().__init__(f"the split leaks: {listed}. {remedy}")

    def __reduce__(self) -> tuple[type[LeakError], tuple[str, tuple[SplitFinding, ...]]]:
        return type(self), (self.remedy, self.findings)
