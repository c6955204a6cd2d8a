"""IXI: healthy brains, the set that methods learn from.

About 580 healthy people aged 20 to 86, scanned at three London hospitals: Hammersmith (HH, Philips 3 T), Guy's (Guys,
Philips 1.5 T) and the Institute of Psychiatry (IOP, GE 1.5 T); 562 have a T2. The benchmark trains and validates on
five folds of them and measures the healthy reconstruction error on 158 more.

A scan is called `IXI002-Guys-0828`: person, site, session. The person is what must not stand in two parts.
"""

from __future__ import annotations

import re

from .cohort import Role
from .layout import DataSetInfo

_NAME = re.compile(r"(?P<person>IXI\d+)-(?P<site>[A-Za-z]+)-\d+")


def person_of(scan: str) -> str:
    """IXI002 of IXI002-Guys-0828; a name of another form stands for itself."""
    match = _NAME.match(scan)
    return match["person"] if match else scan


def site_of(scan: str) -> str | None:
    """Guys of IXI002-Guys-0828; None for a name of another form."""
    match = _NAME.match(scan)
    return match["site"] if match else None


INFO = DataSetInfo(
    name="ixi",
    title="IXI",
    citation="Information eXtraction from Images (EPSRC GR/S21533/02), brain-development.org/ixi-dataset, CC BY-SA 3.0",
    role=Role.HEALTHY,
    folder="Train/ixi",
    csv_prefix="IXI",
    held_out=(158, 560),
    person_of=person_of,
    site_of=site_of,
)
