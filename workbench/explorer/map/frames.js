// What is drawn when: a part of the points while something moves; at rest all of them, in slices.
//
// Points arrive in a random order, so every prefix is a fair sample of all: while the view moves,
// as long a prefix is drawn as the machine manages at 30 frames/s; at rest, a slice a frame.

import { boundsOf, clipScale, dotSize, fitOf, slowing, smooth, viewBetween } from "./geometry.js";
import { drawOverlay } from "./overlay.js";
import { cameraNow, send, sendLook } from "./state.js";

const SLICE = 250000;
const LEAST = 4000;
const MOST = 4e6;
const MORPH = 700;
const FLIGHT = 500;

/** Tell Python what was drawn how fast. */
export function report(s) {
  const { frames } = s;
  const spent = frames[frames.length - 1] - frames[0];
  const fps = Math.round(((1000 * (frames.length - 1)) / spent) * 10) / 10;
  const figures = {
    renderer: s.brush ? s.brush.kind : "png",
    points: s.n,
    first_ms: Math.round(s.first),
    all_ms: Math.round(s.whole),
    moving_fps: frames.length > 2 ? fps : null,
    moving_points: Math.min(s.prefix, s.n),
  };
  send(s, { figures });
}

/** Take up where the points lie now. */
export function measure(s) {
  s.box = boundsOf(s.to);
  s.near = null;
  s.rings = null;
  refit(s);
}

/** Fit the points into the stage: one scale for both axes, unless these differ in meaning. */
export function refit(s) {
  const room = s.parts.legend.hidden || s.width < 500 ? 0 : 100;
  s.fit = fitOf(s.box, s.width, s.height, room, s.spec.free);
}

/** Draw from the next frame on; a still view is drawn whole, slice by slice. */
export function paint(s) {
  if (s.closed) return;
  s.job = null;
  if (!s.frame) again(s);
}

/** Wait for the next frame. */
function again(s) {
  s.frame = requestAnimationFrame((now) => step(s, now));
}

/** One frame. */
function step(s, now) {
  s.frame = 0;
  if (s.closed || (!s.n && s.brush)) return drawOverlay(s);
  advance(s, now);
  if (!s.brush) return drawOverlay(s);
  if (s.moving || s.flight || s.morphStart) return drawMoving(s, now);
  if (s.brush.held()) return again(s);
  return drawSlice(s);
}

/** Take view and points as far as they are at this time. */
function advance(s, now) {
  if (s.flight) {
    const u = Math.min(1, (now - s.flight.start) / FLIGHT);
    s.view = viewBetween(s.flight.a, s.flight.b, slowing(u));
    if (u === 1) s.flight = null;
  }
  if (s.morphStart) {
    s.t = smooth(Math.min(1, (now - s.morphStart) / MORPH));
    if (s.t >= 1) {
      s.morphStart = 0;
      s.near = null;
      s.rings = null;
    }
  }
}

/** What a brush is told of the view; `last` where no slice follows. */
function sceneOf(s, last) {
  const camera = cameraNow(s);
  const [sx, sy] = clipScale(camera);
  const { x, y } = camera;
  const { t, faded, off } = s;
  return { x, y, sx, sy, t, size: dotSize(s.n, s.ratio), faded, off, last };
}

/** Draw as many points as a frame has time for. */
function drawMoving(s, now) {
  s.brush.hold(true);
  const began = performance.now();
  s.brush.draw(s.ctx, sceneOf(s, true), 0, Math.min(s.n, s.prefix), true);
  drawOverlay(s);
  s.job = null;
  s.frames.push(now);
  if (s.frames.length > 40) s.frames.shift();
  const spent = performance.now() - began;
  if (spent > 26) s.prefix = Math.max(LEAST, s.prefix * 0.75);
  else if (spent < 14) s.prefix = Math.min(MOST, s.prefix * 1.2);
  s.prefix = Math.round(s.prefix);
  again(s);
}

/** Draw the next slice of a still view. */
function drawSlice(s) {
  if (!s.job || !s.brush.owned()) s.job = { at: 0 };
  const start = s.job.at;
  const size = start ? SLICE : Math.min(SLICE, Math.max(LEAST, s.prefix));
  const stop = Math.min(s.n, start + size);
  s.brush.draw(s.ctx, sceneOf(s, stop === s.n), start, stop, start === 0);
  s.job.at = stop;
  if (!start) drawOverlay(s);
  if (!s.first && s.n) s.first = performance.now() - s.born;
  s.brush.hold(stop < s.n);
  if (stop < s.n) return again(s);
  const fresh = !s.whole;
  if (fresh) s.whole = performance.now() - s.born;
  if (fresh || s.frames.length) report(s);
  s.frames.length = 0;
}

/** Say that the view moves, until it has stood still for a while. */
export function nudge(s) {
  s.moving = true;
  paint(s);
  clearTimeout(s.settle);
  s.settle = setTimeout(() => {
    s.moving = false;
    paint(s);
    sendLook(s);
  }, 180);
}

/** Let the view fly to another. */
export function fly(s, view) {
  s.flight = { a: { ...s.view }, b: { ...s.view, ...view }, start: performance.now() };
  paint(s);
  clearTimeout(s.settle);
  s.settle = setTimeout(() => sendLook(s), 700);
}
