"""What diagnostics get as their arguments: the state of a statistic of the whole set, by name and with shapes.

Q queries, P matches of one, N rows or items, M modalities, C classes, d dimensions, k neighbours, S shifts, B bins.
Counts are float64. Where an interval leaves families out one by one, an axis of families may stand before all others.
"""

from __future__ import annotations

from typing import Annotated, TypedDict

from torch import Tensor


class MomentsState(TypedDict):
    """Of the unit rows of a modality, or of several side by side."""

    n: Annotated[Tensor, ""]
    mean: Annotated[Tensor, "d"]
    scatter: Annotated[Tensor, "d, d"]  # sum of outer products about the mean


class CentroidGramState(TypedDict):
    """Of the means of modalities."""

    gram: Annotated[Tensor, "M, M"]  # products of the sums of unit rows
    n: Annotated[Tensor, "M"]
    squares: Annotated[Tensor, "M"]  # sums of squared lengths
    matched: Annotated[Tensor, ""]  # sum of the cosines of matches
    pairs: Annotated[Tensor, ""]  # how many


class MatchedState(TypedDict):
    """Of each item that has both modalities, sums over its matches."""

    row: Annotated[Tensor, "N"]  # the item
    count: Annotated[Tensor, "N"]
    distance: Annotated[Tensor, "N"]
    cosine: Annotated[Tensor, "N"]
    volume: Annotated[Tensor, "N"]


class PerTupleState(TypedDict):
    """Of each item that has all modalities, the sum of a value over its tuples."""

    row: Annotated[Tensor, "N"]  # the item
    count: Annotated[Tensor, "N"]
    value: Annotated[Tensor, "N"]


class DifferencesState(TypedDict):
    """Mean and central moments of the differences of matches, for each dimension."""

    n: Annotated[Tensor, ""]
    mean: Annotated[Tensor, "d"]
    second: Annotated[Tensor, "d"]
    third: Annotated[Tensor, "d"]
    fourth: Annotated[Tensor, "d"]


class WidthState(TypedDict):
    """How many dimensions the rows have."""

    d: Annotated[Tensor, ""]


class KernelState(TypedDict):
    """The Gaussian potential over pairs of rows."""

    sum: Annotated[Tensor, ""]
    count: Annotated[Tensor, ""]


class HistogramState(TypedDict):
    """Cosines of all pairs."""

    count: Annotated[Tensor, "B"]  # from -1 to 1


class PlacesState(TypedDict):
    """Where the matches of queries stand."""

    above: Annotated[Tensor, "Q, P"]  # keys that score more
    tied: Annotated[Tensor, "Q, P"]  # keys that score as much


class RanksState(PlacesState):
    """The same with the queries; also of tuples by volume."""

    row: Annotated[Tensor, "Q"]


class PositiveState(TypedDict):
    """The matches of each query."""

    row: Annotated[Tensor, "Q"]
    score: Annotated[Tensor, "Q, P"]
    positives: Annotated[Tensor, "Q"]  # how many


class ShiftedState(TypedDict):
    """Where the match of each query stands after shifts along the gap."""

    row: Annotated[Tensor, "Q"]
    above: Annotated[Tensor, "Q, S"]  # keys of other items that score more
    others: Annotated[Tensor, "Q, S"]  # sum of exp((cosine - 1) / temperature) over them
    own: Annotated[Tensor, "Q, S"]  # cosine of the match


class TiesState(TypedDict, total=False):
    """Within one modality, of queries whose last place is shared."""

    tie_row: Annotated[Tensor, "T"]
    tie_key: Annotated[Tensor, "T"]
    tie_share: Annotated[Tensor, "T"]  # of that place, which each of its keys gets


class NeighboursState(TiesState):
    """The nearest keys of each query, best first."""

    row: Annotated[Tensor, "Q"]
    score: Annotated[Tensor, "Q, k"]  # cosines
    index: Annotated[Tensor, "Q, k"]  # rows of the key's modality, -1 for none
    item: Annotated[Tensor, "Q"]  # the query's
    key_item: Annotated[Tensor, "Q, k"]
    tied: Annotated[Tensor, "Q"]  # whether the last place is shared
    keys: Annotated[Tensor, ""]  # how many there are


class FirstRowsState(TypedDict):
    """The nearest items of each item, by its first row."""

    item: Annotated[Tensor, "N"]
    key_item: Annotated[Tensor, "N, k"]


class LabelsState(TypedDict):
    """The class of each row."""

    row: Annotated[Tensor, "N"]
    label: Annotated[Tensor, "N"]  # -1 for none
    item: Annotated[Tensor, "N"]


class ClassMomentsState(TypedDict):
    """Sums of the rows of each class."""

    n: Annotated[Tensor, "C"]
    sum: Annotated[Tensor, "C, d"]


class ClassSpreadState(TypedDict):
    """How far rows lie from the mean of their class."""

    sum: Annotated[Tensor, "C"]  # of distances
    widest: Annotated[Tensor, "C"]
    within: Annotated[Tensor, "d, d"]  # scatter about the means of classes
    nearest: Annotated[Tensor, ""]  # rows whose own class's mean is nearest


class DiameterState(TypedDict):
    """How wide classes are."""

    squared: Annotated[Tensor, "C"]  # the largest distance within, squared


class DistancesState(DiameterState):
    """Distances within classes and between them."""

    histogram: Annotated[Tensor, "C, B"]
    across: Annotated[Tensor, "C, C"]  # the smallest between two, squared


class SilhouetteState(TypedDict):
    """How far each row lies from the classes."""

    row: Annotated[Tensor, "N"]
    sum: Annotated[Tensor, "N, C"]  # of distances to their rows


class ProbedState(TypedDict):
    """Whether a linear reader that did not see a row is right about it."""

    row: Annotated[Tensor, "N"]
    correct: Annotated[Tensor, "N"]
    item: Annotated[Tensor, "N"]


class SampleState(TypedDict):
    """A hash of each row, by which some are drawn."""

    row: Annotated[Tensor, "N"]
    hash: Annotated[Tensor, "N"]
