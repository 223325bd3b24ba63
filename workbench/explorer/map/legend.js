// The legend, which also hides and picks out; and the palette that follows from it.

import { alphaOf, fillPalette, isOff, REST } from "./colours.js";
import { paint } from "./frames.js";
import { element } from "./state.js";

const SPARE = [
  "#0072B2",
  "#D55E00",
  "#009E73",
  "#CC79A7",
  "#56B4E9",
  "#E69F00",
  "#F0E442",
  "#000000",
];
const GLYPHS = {
  circle: "M6 1a5 5 0 1 0 .01 0z",
  diamond: "M6 0 12 6 6 12 0 6z",
  square: "M1 1h10v10H1z",
  "triangle-up": "M6 0 12 11H0z",
  x: "M2 0 6 4 10 0 12 2 8 6 12 10 10 12 6 8 2 12 0 10 4 6 0 2z",
  cross: "M4 0h4v4h4v4H8v4H4V8H0V4h4z",
  star: "M6 0 7.6 4.4 12 6 7.6 7.6 6 12 4.4 7.6 0 6 4.4 4.4z",
  hexagon: "M3 1h6l3 5-3 5H3L0 6z",
};
const ROWS = 40;

/** Fill the palette anew and hand it to the brush. */
export function takePalette(s) {
  fillPalette(s.rgba, s.spec.legend || {}, s.promoted, s.solo, alphaOf(s.n));
  if (s.brush) s.brush.palette(s.rgba);
}

/** A small drawing of a shape in a colour. */
function glyph(shape, hue) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const path = document.createElementNS(svg.namespaceURI, "path");
  svg.setAttribute("width", 12);
  svg.setAttribute("height", 12);
  path.setAttribute("d", GLYPHS[shape] || GLYPHS.square);
  path.setAttribute("fill", hue);
  svg.append(path);
  return svg;
}

/** One line of the legend: a glyph, a name, a number. */
function row(shape, hue, name, count) {
  const made = element("button");
  const number = element("span", "n", count.toLocaleString());
  made.append(glyph(shape, hue), element("span", "name", name), number);
  return made;
}

/** Draw the legend anew. */
export function drawLegend(s) {
  const { legend } = s.parts;
  const said = s.spec.legend || {};
  const modalities = s.spec.modalities || [];
  legend.replaceChildren();
  if (modalities.length > 1) {
    modalities.forEach((modality, m) => legend.append(modalityRow(s, said, modality, m)));
  }
  if (said.kind === "value") drawRamp(legend, said);
  if (said.kind === "category") drawCategories(s, said);
  legend.hidden = !legend.children.length;
}

/** The line of a modality: a click hides it or shows it again. */
function modalityRow(s, said, modality, m) {
  const hue = said.kind === "modality" ? modality.hue : REST;
  const made = row(modality.shape, hue, modality.name, modality.count || 0);
  made.title = "show or hide " + modality.name;
  made.className = isOff(s.off, m) ? "off" : "";
  made.onclick = () => {
    s.off ^= 1 << m;
    s.rings = null;
    drawLegend(s);
    paint(s);
  };
  return made;
}

/** The colours of a number, with its ends. */
function drawRamp(legend, said) {
  const every = said.colors || [];
  const some = every.filter((_, i) => i % 32 === 0 || i === every.length - 1);
  const strip = element("div");
  const background = `background:linear-gradient(90deg,${some.join(",")})`;
  strip.style.cssText = `height:10px;margin:6px 0 2px;${background}`;
  const ends = element("div", "", "");
  ends.style.cssText = "display:flex;justify-content:space-between";
  ends.append(element("span", "n", said.low), element("span", "n", said.high));
  legend.append(element("div", "name", said.title || ""), strip, ends);
  if (said.missing) legend.append(element("div", "n", `grey: ${said.missing} missing`));
}

/** The values of a category, with a search where they are many. */
function drawCategories(s, said) {
  const { legend } = s.parts;
  const entries = said.entries || [];
  const search = element("input");
  const list = element("div");
  search.placeholder = `search ${entries.length.toLocaleString()} values`;
  search.setAttribute("aria-label", "search the legend");
  search.oninput = () => fillRows(s, said, search, list);
  legend.append(element("div", "name", said.title || ""));
  if (entries.length > 8) legend.append(search);
  legend.append(list);
  fillRows(s, said, search, list);
}

/** The lines of the values that are searched for; without a search, of those that have a colour. */
function fillRows(s, said, search, list) {
  const entries = said.entries || [];
  const query = search.value.toLowerCase();
  const chosen = (k) => s.promoted.has(k) || (s.solo && s.solo.has(k));
  const hits = entries
    .map((entry, k) => [entry, k])
    .filter(([entry, k]) =>
      query ? entry.name.toLowerCase().includes(query) : entry.color || chosen(k),
    );
  list.replaceChildren();
  for (const [entry, k] of hits.slice(0, ROWS)) {
    const made = row(
      "square",
      s.promoted.get(k) || entry.color || said.rest || REST,
      entry.name,
      entry.count,
    );
    made.setAttribute("aria-pressed", !!(s.solo && s.solo.has(k)));
    made.title = "click: only this; click again: all";
    made.onclick = () => {
      pickOut(s, entry, k);
      fillRows(s, said, search, list);
      paint(s);
    };
    list.append(made);
  }
  const others = entries.filter((entry, k) => !entry.color && !s.promoted.has(k));
  if (!query && others.length) {
    const count = others.reduce((sum, entry) => sum + entry.count, 0);
    const name = `${others.length.toLocaleString()} others`;
    const made = row("square", said.rest || REST, name, count);
    made.disabled = true;
    list.append(made);
  }
}

/** Show one value alone, or one more; clicked again, not any more. What had no colour gets one. */
function pickOut(s, entry, k) {
  if (!entry.color && !s.promoted.has(k)) {
    s.promoted.set(k, SPARE[s.promoted.size % SPARE.length]);
  }
  if (s.solo && s.solo.has(k)) {
    s.solo.delete(k);
    if (!s.solo.size) s.solo = null;
  } else {
    s.solo = s.solo || new Set();
    s.solo.add(k);
  }
  takePalette(s);
  s.rings = null;
}
