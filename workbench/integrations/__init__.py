"""Faces for other libraries: evaluators of sentence-transformers and open_clip, torchmetrics, scikit-learn.

Each name loads its library when it is first asked for.

May import: errors, sets, diagnostics, report, interventions.
Open first: the file of the library.
"""

from importlib import import_module
from typing import Any

WHERE = {
    "DiagnosticMetric": ("workbench.integrations.metrics", "torchmetrics", "torchmetrics"),
    "PairEvaluator": ("workbench.integrations.evaluators", "sentence_transformers", "transformers"),
    "clip_metrics": ("workbench.integrations.clip", "torch", ""),
    "evaluate_clip": ("workbench.integrations.clip", "torch", ""),
    "InterventionTransformer": ("workbench.integrations.transformers", "sklearn", "sklearn"),
}
__all__ = list(WHERE)


def __getattr__(name: str) -> Any:
    if name not in WHERE:
        raise AttributeError(name)
    from workbench.sets.formats.source import needed

    module, library, extra = WHERE[name]
    needed(library, extra, name)
    return getattr(import_module(module), name)
