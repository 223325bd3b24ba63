"""Interventions: changes of an embedding space, fitted on some items and applied to others.

May import: errors, geometry, sets, report.
Open first: base.py (what an intervention is), then one_modality.py and two_modalities.py.

>>> import workbench as wb
>>> from workbench.sets.planted import planted
>>> es = planted(gap=0.6)
>>> closed = shift(1.0).fit(es, "image", "text").apply(es)
>>> round(float(wb.diagnose(closed, only=["modality_gap"]).value("modality_gap", "image", "text")), 6)
0.0
"""

from workbench.interventions.base import INTERVENTIONS, Affine, Intervention, changed, intervention, named
from workbench.interventions.one_modality import centre, noise, remove_top, standardise, whiten
from workbench.interventions.two_modalities import cca, matched, procrustes, ridge, shift

__all__ = [
    "INTERVENTIONS",
    "Affine",
    "Intervention",
    "cca",
    "centre",
    "changed",
    "intervention",
    "matched",
    "named",
    "noise",
    "procrustes",
    "remove_top",
    "ridge",
    "shift",
    "standardise",
    "whiten",
]
