"""The views of a map by the names that people read; between three modalities and more each pair has its gap axis."""

from __future__ import annotations

from collections.abc import Sequence

from workbench.errors import unknown

GAP_AXIS = "gap axis"
VIEWS = {
    GAP_AXIS: "gap_axis",
    "SVD, uncentred": "svd",
    "PCA, gap removed": "centred_pca",
    "PCA": "pca",
    "UMAP": "umap",
}
BETWEEN = " · "


def gap_axis_of(modalities: Sequence[str], pair: Sequence[str]) -> str:
    """The view along the gap of a pair, whichever way round it is given."""
    if set(pair) == set(modalities[:2]):
        return GAP_AXIS
    return f"{GAP_AXIS} {BETWEEN.join(m for m in modalities if m in pair)}"


def names(modalities: Sequence[str]) -> list[str]:
    """The views that these modalities have: one alone has no gap."""
    pairs = [(a, b) for k, a in enumerate(modalities) for b in modalities[k + 1 :]]
    gaps = [gap_axis_of(modalities, p) for p in pairs]
    rest = [v for v in VIEWS if v != GAP_AXIS]
    return [*gaps, *(rest if gaps else sorted(rest, key=lambda v: v != "PCA"))]


def method(view: str, modalities: Sequence[str]) -> tuple[str, tuple[str, str] | None]:
    """The projection that a view means, and the pair whose gap it is along; `InputError` for one that there is not."""
    known = names(modalities)
    if view not in known:
        raise unknown("view", view, known)
    if view in VIEWS:
        return VIEWS[view], None
    for k, a in enumerate(modalities):
        for b in modalities[k + 1 :]:
            if gap_axis_of(modalities, (a, b)) == view:
                return VIEWS[GAP_AXIS], (a, b)
    raise unknown("view", view, known)
