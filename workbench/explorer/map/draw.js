// Drawing a map of paired points: what comes in from Python, and what becomes of it.
//
// What comes in (Python sets it): `points` float32 x,y a point; `modality` uint8; `codes` uint16,
// the colour of each point; `mask`, one bit a point; `pairs` uint32 a,b and `pair_codes` uint8;
// `spec`, words and palettes; `tip`, the answer to a hover. What goes out: `gesture`, a polygon in
// data space; `asked`, the point under the pointer; `clicked`; `command`; `look`, which a map drawn
// anew on another screen takes up; `figures`, what was drawn how fast.

import { CanvasBrush } from "./canvas.js";
import { measure, nudge, paint, refit, report } from "./frames.js";
import { indicesOf, settleBetween, unpackBits } from "./geometry.js";
import { GLBrush, sharedGL } from "./gl.js";
import { buildBar, listen } from "./input.js";
import { drawLegend, takePalette } from "./legend.js";
import { drawOverlay } from "./overlay.js";
import { bytesOf, element, newState, pixelOf, say, typed } from "./state.js";
import { CSS } from "./style.js";

const SPECK = 0.002; // share of the points up to which a selection leaves the others as they are

/** Build the elements of a map. */
function buildParts() {
  const parts = {
    root: element("div", "wbm"),
    bar: element("div", "bar"),
    stage: element("div", "stage"),
    base: element("canvas", "base"),
    over: element("canvas"),
    legend: element("div", "legend"),
    chip: element("div", "chip"),
    count: element("div", "count"),
    tip: element("div", "tip"),
    help: element("div", "help"),
    hint: element("span", "hint"),
    faith: element("span", "faith"),
  };
  const { root, bar, stage, base, over, legend, chip, count, tip, help } = parts;
  const style = element("style", "", CSS);
  root.append(style, bar, stage);
  stage.append(base, over, legend, chip, count, tip, help);
  stage.tabIndex = 0;
  stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "map of embeddings; press ? for keys");
  chip.hidden = tip.hidden = help.hidden = legend.hidden = true;
  return parts;
}

/** Take up the best way to draw points on this machine; there may be none. */
function takeBrush(s) {
  const { base } = s.parts;
  const shared = sharedGL();
  if (shared) s.brush = new GLBrush(shared);
  else if (base.getContext("2d")) s.brush = new CanvasBrush();
  if (s.brush) s.ctx = base.getContext("2d");
}

/** Show the picture that Python drew, where nothing can be drawn here. */
function showPicture(s) {
  const still = element("img", "still");
  still.alt = "map drawn on the server";
  const show = () => {
    const png = bytesOf(s.model.get("png"));
    if (!png.length) return;
    still.src = URL.createObjectURL(new Blob([png], { type: "image/png" }));
    s.first = s.first || performance.now() - s.born;
    report(s);
  };
  s.parts.stage.insertBefore(still, s.parts.over);
  s.model.on("change:png", show);
  show();
  // again and again, where the model does not listen yet
  const ask = setInterval(() => {
    if (bytesOf(s.model.get("png")).length || s.closed) clearInterval(ask);
    else say(s, "picture");
  }, 700);
}

/** Take up where the points lie; where they lay elsewhere, they glide. */
function takeLayout(s) {
  const next = typed(Float32Array, s.model.get("points"));
  const fresh = next.length !== s.to.length || !s.n;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  s.n = next.length / 2;
  if (!s.n) return;
  if (fresh || calm) {
    s.from = s.to = next;
    s.t = 1;
    s.morphStart = 0;
  } else {
    if (s.t < 1) settleBetween(s.from, s.to, s.t);
    else s.from = s.to;
    s.to = next;
    s.t = 0;
    s.morphStart = performance.now();
  }
  if (fresh) {
    s.shapes = typed(Uint8Array, s.model.get("modality"));
    readCodes(s);
    readStates(s);
    if (s.brush) s.brush.shapes(s.shapes);
  }
  if (s.brush) s.brush.layout(s.from, s.to);
  measure(s);
  paint(s);
}

/** Read the colour code of each point. */
function readCodes(s) {
  s.codes = typed(Uint16Array, s.model.get("codes"));
  if (s.codes.length !== s.n) s.codes = new Uint16Array(s.n);
  if (s.brush && s.n) s.brush.codes(s.codes);
}

/** Take up other colours. */
function takeCodes(s) {
  readCodes(s);
  s.solo = null;
  s.promoted = new Map();
  takePalette(s);
  s.rings = null;
  paint(s);
}

/** Read which points are selected. */
function readStates(s) {
  s.states = unpackBits(bytesOf(s.model.get("mask")), s.n);
  const picked = indicesOf(s.states);
  s.faded = picked.length > s.n * SPECK && picked.length < s.n;
  if (s.brush && s.n) s.brush.states(s.states, picked);
}

/** Take up another selection. */
function takeStates(s) {
  readStates(s);
  s.rings = null;
  paint(s);
}

/** Take up which points lines are drawn between. */
function takePairs(s) {
  s.pairs = typed(Uint32Array, s.model.get("pairs"));
  s.pairCodes = bytesOf(s.model.get("pair_codes"));
  drawOverlay(s);
}

/** Whether the page is dark: as JupyterLab says, or else as the machine does. */
function isDark() {
  const theme = (light) => !!document.querySelector(`[data-jp-theme-light="${light}"]`);
  const asked = matchMedia("(prefers-color-scheme: dark)").matches;
  return (asked && !theme("true")) || theme("false");
}

/** Take up words and palettes. */
function takeSpec(s) {
  const { root, stage, faith, count } = s.parts;
  s.spec = s.model.get("spec") || {};
  root.classList.toggle("dark", isDark());
  stage.style.height = (s.spec.height || 520) + "px";
  takePalette(s);
  drawLegend(s);
  faith.textContent = s.spec.faith || "";
  faith.title = s.spec.faith_title || "";
  stage.classList.toggle("low", !!s.spec.low);
  const items = (s.spec.items || 0).toLocaleString();
  const points = (s.n || s.spec.points || 0).toLocaleString();
  count.textContent = `${items} items · ${points} points`;
  drawChip(s);
  paint(s);
}

/** Say how much is selected, with a cross to clear it. */
function drawChip(s) {
  const { chip } = s.parts;
  const { selected } = s.spec;
  chip.hidden = !selected;
  chip.replaceChildren(`✓ ${selected || ""} `);
  if (!selected) return;
  const cross = element("button", "", "✕");
  cross.setAttribute("aria-label", "clear the selection");
  cross.style.cssText = "border:0;background:none;min-height:0;padding:0 2px";
  cross.onclick = () => say(s, "clear");
  chip.append(cross);
}

/** Show the answer to a hover, unless the pointer has gone on. */
function takeTip(s) {
  const { tip } = s.parts;
  const answer = s.model.get("tip") || {};
  tip.hidden = answer.point !== s.hovered || s.hovered < 0;
  if (tip.hidden) return;
  tip.replaceChildren();
  if (answer.image) {
    const image = element("img");
    image.src = answer.image;
    image.alt = "";
    tip.append(image);
  }
  tip.append(element("b", "", answer.title || ""));
  for (const line of answer.lines || []) tip.append(element("span", "", line));
}

/** Take up the size of the stage. */
function takeSize(s) {
  const { stage, base, over } = s.parts;
  const { width, height } = stage.getBoundingClientRect();
  if (!width) return;
  s.ratio = Math.min(2, devicePixelRatio || 1);
  s.width = width;
  s.height = height;
  for (const canvas of [base, over]) {
    canvas.width = Math.round(width * s.ratio);
    canvas.height = Math.round(height * s.ratio);
  }
  refit(s);
  paint(s);
}

/** Take up what was looked at where this map was drawn before. */
function takeLook(s) {
  const look = s.model.get("look") || {};
  if (look.z) s.view = { x: look.x || 0, y: look.y || 0, z: look.z };
}

const TAKERS = {
  points: takeLayout,
  codes: takeCodes,
  mask: takeStates,
  pairs: takePairs,
  pair_codes: takePairs,
  spec: takeSpec,
  tip: takeTip,
};

/** What tests and measurements ask of a map. */
function hookOf(s) {
  const turn = () => {
    s.view.x += (0.002 / s.fit.s) * s.width * 0.1;
    nudge(s);
  };
  return {
    pixel: (i) => pixelOf(s, i),
    count: () => s.n,
    picked: () => s.states.reduce((sum, x) => sum + x, 0),
    figures: () => s.model.get("figures"),
    spin: (k) => {
      for (let i = 0; i < k; i++) setTimeout(turn, 30 * i);
    },
  };
}

/** Draw a map into an element; what is returned takes it away again. */
export function drawMap({ model, el }) {
  const parts = buildParts();
  el.append(parts.root);
  /** @type {import("./state.js").State} */
  const s = newState(model, parts);
  takeBrush(s);
  if (!s.brush) showPicture(s);
  buildBar(s);
  listen(s);
  const heard = Object.entries(TAKERS).map(([name, take]) => ["change:" + name, () => take(s)]);
  for (const [name, hear] of heard) model.on(name, hear);
  const watch = new ResizeObserver(() => takeSize(s));
  watch.observe(parts.stage);
  takeSpec(s);
  takeSize(s);
  takeLayout(s);
  takePairs(s);
  takeLook(s);
  parts.stage.__map = hookOf(s);
  return () => {
    s.closed = true;
    watch.disconnect();
    cancelAnimationFrame(s.frame);
    clearTimeout(s.rest);
    clearTimeout(s.settle);
    if (s.brush) s.brush.free();
    for (const [name, hear] of heard) if (model.off) model.off(name, hear);
    parts.root.remove();
  };
}
