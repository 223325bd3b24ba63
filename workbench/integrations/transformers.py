"""Interventions as transformers of scikit-learn: in a `Pipeline`, cloned, searched over."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from workbench.interventions import changed, named, whiten
from workbench.sets.embeddings import EmbeddingSet


class InterventionTransformer(TransformerMixin, BaseEstimator):
    """An intervention by name on one matrix, or on two whose rows belong together.

    `fit(X)` for what concerns one modality (centre, standardise, whiten, remove_top, noise); `fit(X, Y)` with a second
    matrix for shift, procrustes and cca. `transform(X)` changes rows of the first, `transform_second(Y)` of the second.
    Rows are scaled to length one before, as everywhere here; a row of zeros stays where it is.

    >>> import numpy as np
    >>> x = np.random.default_rng(0).normal(size=(50, 3))
    >>> bool(abs(InterventionTransformer("centre").fit_transform(x).mean()) < 1e-12)
    True
    """

    def __init__(self, intervention: str = whiten.__name__, settings: dict[str, Any] | None = None) -> None:
        self.intervention = intervention
        self.settings = settings

    def fit(self, X: Any, y: Any = None) -> InterventionTransformer:  # noqa: N803 - scikit-learn's names
        """Learn from the rows of X and, where `y` is a matrix, of it; a vector `y` is passed over as labels are."""
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_min_samples=2)
        parts = {"first": X}
        second = None if y is None else np.asarray(y)
        if second is not None and second.ndim == 2 and second.shape[1] > 1:
            parts["second"] = second.astype(X.dtype)
        keep = np.all([np.abs(x).max(1) > 0 for x in parts.values()], axis=0)
        es = EmbeddingSet({m: x[keep] for m, x in parts.items()})
        fitted = named(self.intervention, **(self.settings or {})).fit(es)
        self.maps_ = {m: fitted.maps[m] for m in parts}
        self.noise_, self.seed_, self.renormalise_ = fitted.noise, fitted.seed, fitted.renormalise
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: N803
        """Rows of the first matrix, changed."""
        check_is_fitted(self, "maps_")
        X = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return self._changed("first", X)

    def transform_second(self, Y: Any) -> np.ndarray:  # noqa: N803
        """Rows of the second matrix, changed."""
        check_is_fitted(self, "maps_")
        return self._changed("second", np.asarray(Y))

    def _changed(self, m: str, x: np.ndarray) -> np.ndarray:
        rows = torch.from_numpy(np.array(x, dtype=np.float64))
        unit = torch.nn.functional.normalize(rows, dim=1)
        seed = self.seed_ + (m == "second")
        y = changed(self.maps_[m], unit, noise=self.noise_, seed=seed, renormalise=self.renormalise_)
        return y.numpy().astype(x.dtype)
