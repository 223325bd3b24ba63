// What is drawn over the points: contours, lines between pairs, names, axes, the lasso, a ring.

import { rampPlace } from "./colours.js";
import { contoursOf, dotSize } from "./geometry.js";
import { isVisible, pixelAt, pixelOf } from "./state.js";

const MONO = "12px ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace";
const CONTOURED = 200000;
const NAMES = 60;
const FINE = 2; // zoom from which finer regions have their names

/** Draw all of it anew. */
export function drawOverlay(s) {
  const { top } = s;
  top.setTransform(s.ratio, 0, 0, s.ratio, 0, 0);
  top.clearRect(0, 0, s.width, s.height);
  const style = getComputedStyle(s.parts.root);
  const colour = (name) => style.getPropertyValue(name);
  if (s.on.contours && s.n && !s.morphStart) drawContours(s);
  if (s.on.lines && s.pairs.length) drawLines(s);
  if (s.on.labels && s.spec.labels && !s.moving && !s.morphStart) {
    drawNames(s, colour("--ink"), colour("--paper"));
  }
  drawAxes(s, colour("--faint"));
  if (s.drag && s.drag.path && s.drag.path.length > 1) drawLasso(s, colour("--accent"));
  if (s.drag === null && s.hovered >= 0 && s.hovered < s.n) drawRing(s, s.hovered, colour("--ink"));
  for (const i of s.spec.rung || []) if (isVisible(s, i)) drawRing(s, i, colour("--accent"), 2.5);
}

/** The contours of each modality that shows more than a few points. */
function ringsOf(s) {
  const rings = {};
  for (let m = 0; m < (s.spec.modalities || []).length; m++) {
    const keep = [];
    for (let i = 0; i < Math.min(s.n, CONTOURED); i++) {
      if (s.shapes[i] === m && isVisible(s, i)) keep.push(i);
    }
    if (keep.length > 20) rings[m] = contoursOf(s.to, keep, s.box);
  }
  return rings;
}

/** Density contours, the inner one heavier. */
function drawContours(s) {
  const { top } = s;
  if (!s.rings) s.rings = ringsOf(s);
  for (const m in s.rings) {
    top.strokeStyle = s.spec.modalities[m].hue;
    s.rings[m].forEach((lines, k) => {
      top.lineWidth = k ? 1 : 2;
      top.beginPath();
      for (let i = 0; i < lines.length; i += 4) {
        top.moveTo(...pixelAt(s, lines[i], lines[i + 1]));
        top.lineTo(...pixelAt(s, lines[i + 2], lines[i + 3]));
      }
      top.stroke();
    });
  }
}

/** Lines between the modalities of selected items. */
function drawLines(s) {
  const { top, pairs } = s;
  const ramp = s.spec.ramp || ["#888888"];
  top.lineWidth = 1;
  top.globalAlpha = pairs.length > 2000 ? 0.25 : 0.65;
  for (let k = 0; k < pairs.length / 2; k++) {
    const a = pairs[2 * k];
    const b = pairs[2 * k + 1];
    if (!isVisible(s, a) || !isVisible(s, b)) continue;
    top.strokeStyle = ramp[rampPlace(s.pairCodes[k], ramp.length)];
    top.beginPath();
    top.moveTo(...pixelOf(s, a));
    top.lineTo(...pixelOf(s, b));
    top.stroke();
  }
  top.globalAlpha = 1;
}

/** Names of groups, as many as do not lie over each other. */
function drawNames(s, ink, paper) {
  const { top } = s;
  const taken = [];
  top.font = "600 12px system-ui, sans-serif";
  top.textAlign = "center";
  top.textBaseline = "middle";
  for (const label of s.spec.labels) {
    if ((label.level || 0) > 0 && s.view.z < FINE) continue;
    const [x, y] = pixelAt(s, label.x, label.y);
    const w = top.measureText(label.text).width + 8;
    if (x < 0 || y < 0 || x > s.width || y > s.height) continue;
    if (taken.some((r) => Math.abs(r.x - x) < (r.w + w) / 2 && Math.abs(r.y - y) < 17)) continue;
    taken.push({ x, y, w });
    top.lineWidth = 3;
    top.strokeStyle = paper;
    top.strokeText(label.text, x, y);
    top.fillStyle = ink;
    top.fillText(label.text, x, y);
    if (taken.length > NAMES) break;
  }
  s.parts.stage.dataset.labels = taken.length;
}

/** What the axes mean, where they mean something. */
function drawAxes(s, faint) {
  const { top } = s;
  if (!s.spec.axes) return;
  top.font = MONO;
  top.fillStyle = faint;
  top.textBaseline = "alphabetic";
  top.textAlign = "center";
  top.fillText(s.spec.axes[0], s.width / 2, s.height - 8);
  top.save();
  top.translate(14, s.height / 2);
  top.rotate(-Math.PI / 2);
  top.fillText(s.spec.axes[1], 0, 0);
  top.restore();
}

/** The path that is being drawn around points. */
function drawLasso(s, accent) {
  const { top } = s;
  top.strokeStyle = accent;
  top.fillStyle = "rgba(0,114,178,.10)";
  top.lineWidth = 1.5;
  top.beginPath();
  s.drag.path.forEach((p, i) => (i ? top.lineTo(...p) : top.moveTo(...p)));
  top.closePath();
  top.fill();
  top.stroke();
}

/** A ring around a point: the one under the pointer, or one of the item whose pair is shown. */
function drawRing(s, i, ink, width = 1.5) {
  const { top } = s;
  const [x, y] = pixelOf(s, i);
  top.strokeStyle = ink;
  top.lineWidth = width;
  top.beginPath();
  top.arc(x, y, dotSize(s.n, s.ratio) / s.ratio / 2 + 4, 0, 7);
  top.stroke();
}
