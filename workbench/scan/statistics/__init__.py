"""The statistics: what is summed over rows or over pairs of rows, and how two sums become one.

Nothing but a statistic knows about chunks and tiles. Letters: N items, n rows, d dimensions, Q queries, K keys,
C classes, M modalities.
"""

from workbench.scan.contracts import (
    BINS,
    TIE,
    VOLUME_TIE,
    Earlier,
    PairStatistic,
    Prepared,
    RowStatistic,
    State,
    Statistic,
)
from workbench.scan.statistics.classes import (
    ClassMoments,
    ClassSpread,
    Diameter,
    Distances,
    Labels,
    Silhouette,
    centroids,
)
from workbench.scan.statistics.crossfit import FoldMoments, Probed, Separated
from workbench.scan.statistics.moments import CentroidGram, Contrast, Differences, Moments, Width
from workbench.scan.statistics.neighbours import Neighbours
from workbench.scan.statistics.pairs import Histogram, Kernel, Ranks, Shifted
from workbench.scan.statistics.rows import (
    Matched,
    OwnVolume,
    PerTuple,
    Positive,
    Sample,
    WithinFamilyKernel,
    sample_hash,
)
from workbench.scan.statistics.volumes import VolumeRanks

__all__ = [
    "BINS",
    "TIE",
    "VOLUME_TIE",
    "CentroidGram",
    "ClassMoments",
    "ClassSpread",
    "Contrast",
    "Diameter",
    "Differences",
    "Distances",
    "Earlier",
    "FoldMoments",
    "Histogram",
    "Kernel",
    "Labels",
    "Matched",
    "Moments",
    "Neighbours",
    "OwnVolume",
    "PairStatistic",
    "PerTuple",
    "Positive",
    "Prepared",
    "Probed",
    "Ranks",
    "RowStatistic",
    "Sample",
    "Separated",
    "Shifted",
    "Silhouette",
    "State",
    "Statistic",
    "VolumeRanks",
    "Width",
    "WithinFamilyKernel",
    "centroids",
    "sample_hash",
]
