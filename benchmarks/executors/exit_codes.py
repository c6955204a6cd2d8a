"""How `bench cell` ends: all is there; the user must mend something; a defect of this package; try again later."""

from __future__ import annotations

DONE, USER, DEFECT, AGAIN = 0, 2, 3, 75
#: After these a cell is not tried again.
ENDINGS = frozenset({DONE, USER, DEFECT})
