// What a person does: buttons, keys, the wheel, the pointer.

import { hiddenCodes } from "./colours.js";
import { fly, nudge } from "./frames.js";
import { GridIndex, lassoTo, zoomed } from "./geometry.js";
import { drawOverlay } from "./overlay.js";
import { cameraNow, dataAt, element, isVisible, say, send } from "./state.js";

const NEAR = 8; // pixels
const STILL = 120; // ms
const SLOP = 4; // pixels
const HOME = { x: 0, y: 0, z: 1 };
const LAYERS = [
  ["lines", "╱", "lines between the modalities of selected items (L)"],
  ["contours", "◎", "density contours: half and nine tenths of each modality (C)"],
  ["labels", "A", "names of groups (N)"],
];
const KEYS_SAID = [
  ["M", "move the view"],
  ["S", "select: drag around points"],
  ["⇧ drag", "select a box"],
  ["Ctrl", "add to the selection, Alt takes away"],
  ["Esc", "clear the selection"],
  ["Ctrl Z", "undo, with ⇧ redo"],
  ["+ −", "zoom"],
  ["← ↑ → ↓", "pan"],
  ["0", "recentre"],
  ["L C N", "lines, contours, names"],
  ["?", "these keys"],
];

/** Add a button to the bar: a sign, and a word where there is room for it. */
function addButton(s, key, sign, title, act, word = key) {
  const made = element("button");
  made.append(element("span", "sign", sign), element("span", "word", word));
  made.title = title;
  made.setAttribute("aria-label", title);
  made.onclick = act;
  s.buttons[key] = made;
  s.parts.bar.append(made);
  return made;
}

/** Let a drag move the view, or select. */
function setMode(s, mode) {
  s.mode = mode;
  s.buttons.move.setAttribute("aria-pressed", mode === "move");
  s.buttons.select.setAttribute("aria-pressed", mode === "select");
  s.parts.stage.style.cursor = mode === "select" ? "crosshair" : "grab";
  s.parts.hint.textContent =
    mode === "select"
      ? "drag around points · with shift a box · with ctrl add"
      : "drag to pan · scroll to zoom · click a point for its pair";
}

/** Show lines, contours or labels, or hide them. */
function toggle(s, layer) {
  s.on[layer] = !s.on[layer];
  s.buttons[layer].setAttribute("aria-pressed", s.on[layer]);
  s.rings = null;
  drawOverlay(s);
}

/** Show the keys, or hide them. */
function toggleHelp(s) {
  s.parts.help.hidden = !s.parts.help.hidden;
}

/** Build the bar and the page of keys. */
export function buildBar(s) {
  const { bar, hint, faith, help } = s.parts;
  addButton(s, "move", "✥", "move the view (M)", () => setMode(s, "move"));
  addButton(s, "select", "◌", "select points (S)", () => setMode(s, "select"));
  addButton(s, "clear", "✕", "clear the selection (Esc)", () => say(s, "clear"));
  addButton(s, "recentre", "⌂", "show everything (0)", () => fly(s, HOME));
  addButton(s, "undo", "↶", "undo (Ctrl-Z)", () => say(s, "undo"), "");
  for (const [layer, sign, title] of LAYERS) {
    const made = addButton(s, layer, sign, title, () => toggle(s, layer));
    made.setAttribute("aria-pressed", s.on[layer]);
  }
  addButton(s, "help", "?", "keys (?)", () => toggleHelp(s), "");
  bar.append(hint, faith);
  setMode(s, "move");
  for (const [key, what] of KEYS_SAID) {
    const line = element("p");
    line.append(element("kbd", "", key), what);
    help.append(line);
  }
  help.onclick = () => (help.hidden = true);
}

/** Where on the stage an event is, in pixels. */
function placeOf(s, e) {
  const r = s.parts.stage.getBoundingClientRect();
  return [((e.clientX - r.left) * s.width) / r.width, ((e.clientY - r.top) * s.height) / r.height];
}

/** Shift the view so that what lay at one place of data space lies at another. */
function shift(s, a, b) {
  s.view.x += a[0] - b[0];
  s.view.y += a[1] - b[1];
  nudge(s);
}

/** Shift the view by steps of so many pixels. */
export function pan(s, x, y) {
  const { sx, sy } = cameraNow(s);
  s.view.x += (60 * x) / sx;
  s.view.y += (60 * y) / sy;
  nudge(s);
}

/** Zoom by a factor around the middle. */
function zoomBy(s, factor) {
  s.view.z = zoomed(s.view.z, factor);
  nudge(s);
}

/** The visible point near a place in pixels, or −1. */
function pointAt(s, p) {
  if (!s.n) return -1;
  if (!s.near) s.near = new GridIndex(s.to, s.box);
  const { sx, sy } = cameraNow(s);
  return s.near.find(...dataAt(s, ...p), NEAR / sx, NEAR / sy, (i) => isVisible(s, i));
}

/** Take up which point is under the pointer, and ask Python about it. */
function hover(s, i) {
  if (i === s.hovered) return;
  s.hovered = i;
  s.parts.tip.hidden = true;
  drawOverlay(s);
  send(s, { asked: i });
}

/** Look what is under a pointer that stands still. */
function lookAt(s, p) {
  const { tip } = s.parts;
  const i = pointAt(s, p);
  if (i >= 0) {
    tip.style.left = Math.min(p[0] + 14, s.width - 200) + "px";
    tip.style.top = Math.min(p[1] + 14, s.height - 110) + "px";
  }
  hover(s, i);
}

/** Turn the wheel: zoom around the pointer. */
function onWheel(s, e) {
  if (!s.parts.help.hidden || s.parts.legend.contains(e.target)) return;
  e.preventDefault();
  const p = placeOf(s, e);
  const a = dataAt(s, ...p);
  s.view.z = zoomed(s.view.z, Math.exp(-e.deltaY * (e.deltaMode ? 0.05 : 0.0015)));
  shift(s, a, dataAt(s, ...p));
}

/** What the keys held down make of a selection. */
function opOf(e) {
  if (e.altKey) return "remove";
  return e.ctrlKey || e.metaKey ? "add" : "replace";
}

/** Press: a drag begins, of the view or around points. */
function onDown(s, e) {
  const { stage, legend, chip, tip, help } = s.parts;
  if (e.button || legend.contains(e.target) || chip.contains(e.target) || !help.hidden) return;
  stage.focus({ preventScroll: true });
  const p = placeOf(s, e);
  const pick = s.mode === "select" || e.shiftKey;
  const path = pick ? [p] : null;
  s.drag = { p, last: p, moved: false, pick, rect: e.shiftKey, path, op: opOf(e) };
  stage.setPointerCapture(e.pointerId);
  tip.hidden = true;
}

/** Move: the drag goes on, or the pointer looks for a point once it stands still. */
function onMove(s, e) {
  const p = placeOf(s, e);
  clearTimeout(s.rest);
  const { drag } = s;
  if (!drag) {
    if (!s.parts.legend.contains(e.target)) s.rest = setTimeout(() => lookAt(s, p), STILL);
    return;
  }
  if (Math.hypot(p[0] - drag.p[0], p[1] - drag.p[1]) > SLOP) drag.moved = true;
  if (!drag.moved) return;
  if (drag.pick) {
    drag.path = lassoTo(drag.path, drag.p, p, drag.rect);
    drawOverlay(s);
  } else shift(s, dataAt(s, ...drag.last), dataAt(s, ...p));
  drag.last = p;
}

/** Release: a click, a polygon, or the end of a shift. */
function onUp(s, e) {
  if (!s.drag) return;
  const { moved, pick, path, op } = s.drag;
  s.drag = null;
  if (!moved) {
    const point = pointAt(s, placeOf(s, e));
    if (point >= 0) send(s, { clicked: { point, op, seq: ++s.seq } });
  } else if (pick && path.length > 2) {
    const points = path.map((q) => dataAt(s, ...q));
    const hidden = hiddenCodes(s.solo, ((s.spec.legend || {}).entries || []).length);
    send(s, { gesture: { points, op, off: s.off, hidden, seq: ++s.seq } });
  }
  drawOverlay(s);
}

/** What each key does. */
function keysOf(s) {
  return {
    m: () => setMode(s, "move"),
    s: () => setMode(s, "select"),
    Escape: () => (s.parts.help.hidden ? say(s, "clear") : toggleHelp(s)),
    "+": () => zoomBy(s, 1.3),
    "=": () => zoomBy(s, 1.3),
    "-": () => zoomBy(s, 1 / 1.3),
    0: () => fly(s, HOME),
    l: () => toggle(s, "lines"),
    c: () => toggle(s, "contours"),
    n: () => toggle(s, "labels"),
    "?": () => toggleHelp(s),
    ArrowLeft: () => pan(s, -1, 0),
    ArrowRight: () => pan(s, 1, 0),
    ArrowUp: () => pan(s, 0, 1),
    ArrowDown: () => pan(s, 0, -1),
  };
}

/** Press a key; what the map takes, the page around it does not get. */
function onKey(s, keys, e) {
  if (e.target.tagName === "INPUT") return;
  const held = e.ctrlKey || e.metaKey;
  const undo = held && e.key.toLowerCase() === "z";
  const back = e.shiftKey ? "redo" : "undo";
  const act = undo ? () => say(s, back) : keys[e.key] || keys[e.key.toLowerCase()];
  if (!act || (!undo && (held || e.altKey))) return;
  act();
  e.preventDefault();
  e.stopPropagation();
}

/** Listen to the pointer and the keys. */
export function listen(s) {
  const { root, stage } = s.parts;
  const keys = keysOf(s);
  stage.addEventListener("wheel", (e) => onWheel(s, e), { passive: false });
  stage.addEventListener("pointerdown", (e) => onDown(s, e));
  stage.addEventListener("pointermove", (e) => onMove(s, e));
  stage.addEventListener("pointerup", (e) => onUp(s, e));
  stage.addEventListener("pointerleave", () => {
    clearTimeout(s.rest);
    hover(s, -1);
  });
  root.addEventListener("keydown", (e) => onKey(s, keys, e));
}
