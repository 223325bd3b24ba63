"""One pass over a tile as a Triton kernel: scores stay in registers, and only what was asked for leaves.

Each program makes a block of cosines and reduces it: sums of exp by row and by column, counts above limits, the places
of scores between limits, and a histogram. Counts are whole numbers and sums are left as one part a block, so the order
in which programs end changes nothing.
"""

import triton
import triton.language as tl


@triton.jit
def _emit(hit, i, j, score, n, found, scores, taken, room, BLOCK: tl.constexpr):  # type: ignore[no-untyped-def]
    """Append the places of hits, as i n + j, and their scores, as far as there is room."""
    flat = tl.reshape(hit.to(tl.int32), (BLOCK,))
    base = tl.atomic_add(taken, tl.sum(flat, 0))
    at = base + tl.cumsum(flat, 0) - 1
    key = i.to(tl.int64)[:, None] * n + j.to(tl.int64)[None, :]
    keep = (flat > 0) & (at < room)
    tl.store(found + at, tl.reshape(key, (BLOCK,)), mask=keep)
    tl.store(scores + at, tl.reshape(score, (BLOCK,)), mask=keep)


@triton.jit
def one_pass(  # type: ignore[no-untyped-def]
    x, y, nq, nk, d,
    rows, columns, scale, same,
    first, last,
    row_low, row_high, row_own, row_allowed, row_more, row_near,
    col_low, col_high, col_own, col_allowed, col_more, col_near,
    found, scores, taken, start, room,
    count, half,
    POTENTIALS: tl.constexpr, SAME: tl.constexpr, OWN: tl.constexpr,
    PR: tl.constexpr, PC: tl.constexpr, BINS: tl.constexpr, WIDE: tl.constexpr,
    BQ: tl.constexpr, BK: tl.constexpr, BD: tl.constexpr,
):  # fmt: skip
    """Everything asked of x (nq, d) against y (nk, d); `card` says what each argument is."""
    pq, pk = tl.program_id(0), tl.program_id(1)
    i, j, c = pq * BQ + tl.arange(0, BQ), pk * BK + tl.arange(0, BK), tl.arange(0, BD)
    here_i, here_j = i < nq, j < nk
    s = tl.zeros((BQ, BK), tl.float32)
    for k in range(0, d, BD):
        inside = (k + c) < d
        at_x = i.to(tl.int64)[:, None] * d + (k + c)[None, :]
        at_y = j.to(tl.int64)[:, None] * d + (k + c)[None, :]
        a = tl.load(x + at_x, mask=here_i[:, None] & inside[None, :], other=0.0)
        b = tl.load(y + at_y, mask=here_j[:, None] & inside[None, :], other=0.0)
        s = tl.dot(a, tl.trans(b), s, input_precision="ieee")  # all of float32: limits trust its rounding
    here = here_i[:, None] & here_j[None, :]
    other = here
    if OWN:
        begin = tl.load(first + i, mask=here_i, other=0)
        end = tl.load(last + i, mask=here_i, other=0)
        other = here & ~((j[None, :] >= begin[:, None]) & (j[None, :] < end[:, None]))
    if POTENTIALS:
        counts = here
        if SAME:
            twin = tl.load(same + i, mask=here_i, other=-1)
            counts = here & (j[None, :] != twin[:, None])
        e = tl.where(counts, tl.exp(scale * (s - 1.0)), 0.0)
        tl.store(rows + pk * nq + i, tl.sum(e, 1), mask=here_i)
        tl.store(columns + pq * nk + j, tl.sum(e, 0), mask=here_j)
    for p in tl.static_range(PR):
        low = tl.load(row_low + p * nq + i, mask=here_i, other=0.0)
        high = tl.load(row_high + p * nq + i, mask=here_i, other=0.0)
        allowed = tl.load(row_allowed + p * nk + j, mask=here_j, other=0)
        which = (tl.load(row_own + p) == 0) & here | (other & here)
        which = which & (allowed != 0)[None, :]
        over = which & (s > high[:, None])
        near = which & (s > low[:, None]) & ~over
        tl.atomic_add(row_more + p * nq + i, tl.sum(over.to(tl.int32), 1), mask=here_i)
        tl.atomic_add(row_near + p * nq + i, tl.sum(near.to(tl.int32), 1), mask=here_i)
        at = tl.load(start + p)
        _emit(near, i, j, s, nk, found + at, scores + at, taken + p, tl.load(room + p), BQ * BK)
    for p in tl.static_range(PC):
        low = tl.load(col_low + p * nk + j, mask=here_j, other=0.0)
        high = tl.load(col_high + p * nk + j, mask=here_j, other=0.0)
        allowed = tl.load(col_allowed + p * nq + i, mask=here_i, other=0)
        which = (tl.load(col_own + p) == 0) & here | (other & here)
        which = which & (allowed != 0)[:, None]
        over = which & (s > high[None, :])
        near = which & (s > low[None, :]) & ~over
        tl.atomic_add(col_more + p * nk + j, tl.sum(over.to(tl.int32), 0), mask=here_j)
        tl.atomic_add(col_near + p * nk + j, tl.sum(near.to(tl.int32), 0), mask=here_j)
        at = tl.load(start + PR + p)
        _emit(near, i, j, s, nk, found + at, scores + at, taken + PR + p, tl.load(room + PR + p), BQ * BK)
    if BINS > 0:
        place = ((s + 1.0) * half).to(tl.int32)
        place = tl.minimum(tl.maximum(place, 0), BINS - 1)
        place = tl.where(other, place, WIDE - 1)  # what does not count goes into a bin behind the others
        seen = tl.histogram(tl.reshape(place, (BQ * BK,)), WIDE)
        tl.atomic_add(count + tl.arange(0, WIDE), seen)
