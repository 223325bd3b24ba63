// Where things are, as pure functions of numbers and typed arrays: no element, no state, no clock.

/**
 * A box around points in data space: left, bottom, right, top.
 * @typedef {[number, number, number, number]} Box
 */

/**
 * How a box lies in the stage at rest: its middle, pixels a unit along x, how much more along y.
 * @typedef {{x: number, y: number, s: number, r: number}} Fit
 */

/**
 * What a person did to that: a shift in data space and a zoom.
 * @typedef {{x: number, y: number, z: number}} View
 */

/**
 * Fit and view together: what lies in the middle, pixels a unit along each axis, size in pixels.
 * @typedef {{x: number, y: number, sx: number, sy: number, width: number, height: number}} Camera
 */

/** Cells along each side of the grid that densities are counted on. */
export const GRID = 96;
const CLOSEST = 200;
const FARTHEST = 0.3;

/** The camera of a fit and a view on a stage of a size. */
export function cameraOf(fit, view, width, height) {
  const s = fit.s * view.z;
  return { x: fit.x + view.x, y: fit.y + view.y, sx: s, sy: s * fit.r, width, height };
}

/** Data space to pixels from the left and the top of the stage. */
export function project(camera, x, y) {
  return [
    camera.width / 2 + (x - camera.x) * camera.sx,
    camera.height / 2 - (y - camera.y) * camera.sy,
  ];
}

/** Pixels to data space: `project` turned round. */
export function unproject(camera, px, py) {
  return [
    camera.x + (px - camera.width / 2) / camera.sx,
    camera.y - (py - camera.height / 2) / camera.sy,
  ];
}

/** Units of clip space, which is 2 wide and 2 high, a unit of data space. */
export function clipScale(camera) {
  return [(camera.sx * 2) / camera.width, (camera.sy * 2) / camera.height];
}

/** Where point i is on its way between two layouts, at t from 0 to 1. */
export function spotBetween(from, to, t, i) {
  return [from[2 * i] * (1 - t) + to[2 * i] * t, from[2 * i + 1] * (1 - t) + to[2 * i + 1] * t];
}

/** Write over `from` all that `spotBetween` says, for a glide that is turned while it lasts. */
export function settleBetween(from, to, t) {
  for (let i = 0; i < from.length; i++) from[i] = from[i] * (1 - t) + to[i] * t;
}

/** The box around all points; of none, or of such as are no numbers, the unit box. */
export function boundsOf(xy) {
  let left = Infinity;
  let bottom = Infinity;
  let right = -Infinity;
  let top = -Infinity;
  for (let i = 0; i < xy.length; i += 2) {
    const x = xy[i];
    const y = xy[i + 1];
    if (x < left) left = x;
    if (x > right) right = x;
    if (y < bottom) bottom = y;
    if (y > top) top = y;
  }
  return left <= right ? [left, bottom, right, top] : [-1, -1, 1, 1];
}

/** How a box is laid into a stage with room left for a legend; `free` gives each axis its scale. */
export function fitOf(box, width, height, room, free) {
  const [left, bottom, right, top] = box;
  const sx = (0.92 * (width - room)) / (right - left || 1);
  const sy = (0.92 * (height - 40)) / (top - bottom || 1);
  const s = free ? sx : Math.min(sx, sy);
  const r = free ? sy / sx : 1;
  return { x: (left + right) / 2 + room / 2 / s, y: (bottom + top) / 2 - 10 / (s * r), s, r };
}

/** A zoom by a factor, within what still shows something. */
export function zoomed(z, factor) {
  return Math.max(FARTHEST, Math.min(CLOSEST, z * factor));
}

/** The diameter of a point in pixels of the canvas: the more points, the smaller. */
export function dotSize(n, ratio) {
  const size = n > 400000 ? 2 : n > 60000 ? 3 : n > 8000 ? 5 : n > 1500 ? 7 : 9;
  return size * ratio;
}

/** From 0 to 1, slow at both ends. */
export function smooth(u) {
  return u * u * (3 - 2 * u);
}

/** From 0 to 1, slow at the end. */
export function slowing(u) {
  return 1 - (1 - u) ** 3;
}

/** The view at u of the way from one to another. */
export function viewBetween(a, b, u) {
  return {
    x: a.x + (b.x - a.x) * u,
    y: a.y + (b.y - a.y) * u,
    z: a.z + (b.z - a.z) * u,
  };
}

/** The path of a lasso that is pulled on to p: one corner more, or the box between its ends. */
export function lassoTo(path, start, p, rectangle) {
  return rectangle ? [start, [p[0], start[1]], p, [start[0], p[1]]] : [...path, p];
}

/** One byte a point from one bit a point; a mask that is too short selects nothing. */
export function unpackBits(mask, n) {
  const states = new Uint8Array(n);
  if (mask.length * 8 < n) return states;
  for (let i = 0; i < n; i++) states[i] = (mask[i >> 3] >> (i & 7)) & 1;
  return states;
}

/** The numbers of the points whose state is not zero, in order. */
export function indicesOf(states) {
  let count = 0;
  for (let i = 0; i < states.length; i++) if (states[i]) count++;
  const found = new Uint32Array(count);
  for (let i = 0, j = 0; i < states.length; i++) if (states[i]) found[j++] = i;
  return found;
}

/** How many of the points in `keep` lie near each corner of a grid over the box. */
export function densityOf(xy, keep, box) {
  const counts = new Float32Array(GRID * GRID);
  const [left, bottom, right, top] = box;
  const fx = (GRID - 1) / (right - left || 1);
  const fy = (GRID - 1) / (top - bottom || 1);
  for (let i = 0; i < keep.length; i++) {
    const x = Math.round((xy[2 * keep[i]] - left) * fx);
    const y = Math.round((xy[2 * keep[i] + 1] - bottom) * fy);
    if (x >= 0 && y >= 0 && x < GRID && y < GRID) counts[y * GRID + x]++;
  }
  return counts;
}

/** A running mean of five along one axis, whose neighbours lie `step` apart; zero outside. */
function runningMean(field, step) {
  const out = new Float32Array(field.length);
  for (let i = 0; i < field.length; i++) {
    const place = Math.floor(i / step) % GRID;
    let sum = 0;
    for (let o = -2; o <= 2; o++) {
      if (place + o >= 0 && place + o < GRID) sum += field[i + o * step];
    }
    out[i] = sum / 5;
  }
  return out;
}

/** A density without its grain: two running means along each axis. */
export function blurred(field) {
  const once = runningMean(runningMean(field, 1), GRID);
  return runningMean(runningMean(once, 1), GRID);
}

/** The height above which the smallest region lies that holds a share of a density. */
export function levelOf(field, share) {
  const falling = Float32Array.from(field).sort().reverse();
  let total = 0;
  for (const x of falling) total += x;
  let sum = 0;
  for (const x of falling) {
    sum += x;
    if (sum >= share * total) return x;
  }
  return 0;
}

/** Where a line between two heights of different sign is at zero, as a share of its length. */
function crossing(p, q) {
  return p / (p - q);
}

/** The line around all that is higher than a level, as pieces x, y, x, y in data space. */
export function outlineOf(field, level, box) {
  const [left, bottom, right, top] = box;
  const fx = (GRID - 1) / (right - left || 1);
  const fy = (GRID - 1) / (top - bottom || 1);
  const lines = [];
  for (let y = 0; y + 1 < GRID; y++) {
    for (let x = 0; x + 1 < GRID; x++) {
      const k = y * GRID + x;
      const a = field[k] - level;
      const b = field[k + 1] - level;
      const c = field[k + GRID + 1] - level;
      const d = field[k + GRID] - level;
      const hit = [];
      if (a > 0 !== b > 0) hit.push([x + crossing(a, b), y]);
      if (b > 0 !== c > 0) hit.push([x + 1, y + crossing(b, c)]);
      if (c > 0 !== d > 0) hit.push([x + 1 - crossing(c, d), y + 1]);
      if (d > 0 !== a > 0) hit.push([x, y + 1 - crossing(d, a)]);
      for (let h = 0; h + 1 < hit.length; h += 2) {
        lines.push(left + hit[h][0] / fx, bottom + hit[h][1] / fy);
        lines.push(left + hit[h + 1][0] / fx, bottom + hit[h + 1][1] / fy);
      }
    }
  }
  return lines;
}

/** The contours that hold half and nine tenths of the points in `keep`. */
export function contoursOf(xy, keep, box) {
  const field = blurred(densityOf(xy, keep, box));
  const levels = [0.5, 0.9].map((share) => levelOf(field, share));
  return levels.filter((level) => level > 0).map((level) => outlineOf(field, level, box));
}

/** Which point is near: points sorted into the cells of a grid, four a cell on average. */
export class GridIndex {
  /** Sort the points of a layout into cells. */
  constructor(xy, box) {
    const n = xy.length / 2;
    this.xy = xy;
    this.box = box;
    this.side = Math.max(8, Math.min(1024, Math.ceil(Math.sqrt(n / 4))));
    this.fx = this.side / (box[2] - box[0] || 1);
    this.fy = this.side / (box[3] - box[1] || 1);
    this.start = new Uint32Array(this.side * this.side + 1);
    const cell = new Uint32Array(n);
    for (let i = 0; i < n; i++) {
      cell[i] = this.row(xy[2 * i + 1]) * this.side + this.column(xy[2 * i]);
      this.start[cell[i] + 1]++;
    }
    for (let c = 0; c < this.side * this.side; c++) this.start[c + 1] += this.start[c];
    const fill = this.start.slice(0, -1);
    this.list = new Uint32Array(n);
    for (let i = 0; i < n; i++) this.list[fill[cell[i]]++] = i;
  }

  /** The column of cells that holds x. */
  column(x) {
    return Math.max(0, Math.min(this.side - 1, Math.floor((x - this.box[0]) * this.fx)));
  }

  /** The row of cells that holds y. */
  row(y) {
    return Math.max(0, Math.min(this.side - 1, Math.floor((y - this.box[1]) * this.fy)));
  }

  /** The nearest visible point within an ellipse around x, y, or −1. */
  find(x, y, rx, ry, visible) {
    let best = -1;
    let least = 1;
    const last = this.column(x + rx);
    for (let r = this.row(y - ry); r <= this.row(y + ry); r++) {
      for (let c = this.column(x - rx); c <= last; c++) {
        const end = this.start[r * this.side + c + 1];
        for (let j = this.start[r * this.side + c]; j < end; j++) {
          const i = this.list[j];
          const d = ((this.xy[2 * i] - x) / rx) ** 2 + ((this.xy[2 * i + 1] - y) / ry) ** 2;
          if (d < least && visible(i)) {
            least = d;
            best = i;
          }
        }
      }
    }
    return best;
  }
}
