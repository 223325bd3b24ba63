"""Nulls: what each diagnostic would read if there were nothing to see. Closed forms where there are any.

Re-pairing changes no gap, no uniformity and no rank, so each diagnostic names its own: pairing shuffle, modality
swap within items, label shuffle, or random vectors of the same dimension.

Open first: the file that a diagnostic names, as in `null=sphere.isotropic(…)`.
"""
