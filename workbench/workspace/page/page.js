// The workspace: panels of HTML that Python makes, around the map; in notebooks and on pages.
//
// What comes in beside the map's traits: `top`, `tools`, `left`, `right`, `foot`, `drawer`, each
// the HTML of a panel with every text escaped; `page`, its words, address and commands; `file` and
// `content`, something to download. What goes out: `act`, what a person did, by the name that
// the HTML gave it in `data-act`.

import { drawMap } from "../../explorer/map/draw.js";
import { bytesOf, element } from "../../explorer/map/state.js";
import { followTheme, howOf, onChange, tell, TYPED, valueOf } from "./acts.js";
import { Layout } from "./layout.js";
import { Palette } from "./palette.js";
import { patch } from "./patch.js";
import { PAGE_CSS } from "./style.js";

const SLOTS = ["top", "tools", "left", "right", "foot", "drawer"];
const OFTEN = 60; // ms between two messages of a slider that is dragged

/** Build the elements of a workspace. */
function buildPage() {
  const p = { root: element("div", "wbs") };
  const parts = [
    ["header", "top"],
    ["aside", "left"],
    ["main", "middle"],
    ["aside", "right"],
  ];
  for (const [tag, name] of parts) p[name] = element(tag, name);
  for (const name of ["tools", "map", "said", "foot", "drawer"]) p[name] = element("div", name);
  p.left.setAttribute("aria-label", "findings");
  p.right.setAttribute("aria-label", "item and selection");
  p.said.setAttribute("role", "status");
  p.map.append(p.said);
  p.middle.append(p.tools, p.map, p.foot, p.drawer);
  p.root.tabIndex = -1;
  return p;
}

/** A click on what has a name. */
function onClick(w, e) {
  const hit = e.target.closest("[data-act]");
  if (!hit || hit.matches(TYPED) || hit.disabled) return;
  e.preventDefault();
  const name = hit.getAttribute("data-act");
  if (name === "page.palette") w.palette.open(commandsOf(w));
  else if (name === "page.fold") w.layout.fold(valueOf(hit));
  else tell(w, name, valueOf(hit), howOf(e));
}

/** A slider that is dragged: now and then a value. */
function onInput(w, e) {
  const control = e.target;
  if (control.type !== "range" || !control.hasAttribute("data-act")) return;
  clearTimeout(w.often);
  const name = control.getAttribute("data-act");
  w.often = setTimeout(() => tell(w, name, [valueOf(control), control.value], "drag"), OFTEN);
}

/** Bins of a chart: pressed on one and let go on another, all between are meant. */
function onPress(w, e) {
  const bin = e.target.closest("[data-bin]");
  w.bin = bin && !e.button ? bin : null;
}

/** The other end of what was pressed; on the same bin it is a click. */
function onRelease(w, e) {
  const first = w.bin;
  w.bin = null;
  const there = first && e.composedPath()[0];
  const last = there && there.closest && there.closest("[data-bin]");
  if (!last || last === first || last.parentNode !== first.parentNode) return;
  const [name, a] = valueOf(first);
  const [, b] = valueOf(last);
  tell(w, first.getAttribute("data-act"), [name, Math.min(a, b), Math.max(a, b)], howOf(e));
}

const KEYS = {
  j: ["item.step", 1],
  k: ["item.step", -1],
  1: ["item.judge", 0],
  2: ["item.judge", 1],
  3: ["item.judge", 2],
  u: ["item.unjudge", null],
  t: ["page.drawer", null],
};

/** A key that neither a control nor the map has taken. */
function onPageKey(w, e) {
  const held = e.ctrlKey || e.metaKey;
  const key = e.key.toLowerCase();
  const [target] = e.composedPath();
  const typing = target.matches(TYPED) && !target.matches("[type=range],[type=checkbox]");
  if (held && key === "k") w.palette.open(commandsOf(w));
  else if (held && key === "z" && !typing) tell(w, e.shiftKey ? "page.redo" : "page.undo");
  else if (e.key === "Enter" && target.matches("input[data-act]")) onChange(w, e);
  else if (held || e.altKey || typing) return;
  else if (key === "/") w.parts.tools.querySelector("input").focus();
  else if (KEYS[key]) tell(w, ...KEYS[key]);
  else if ((e.key === "Enter" || e.key === " ") && target.matches("[role=button][data-act]")) {
    target.click();
  } else return;
  e.preventDefault();
  e.stopPropagation();
}

/** All that can be done: what Python lists, and the buttons that are shown. */
function commandsOf(w) {
  const fold = ["left", "right"].map((name) => ({ say: `fold or unfold: ${name}`, fold: name }));
  return [...(w.page.commands || []), ...fold];
}

/** Take up the HTML of a panel. */
function takeSlot(w, name) {
  const host = w.parts[name];
  const html = w.model.get(name) || "";
  patch(host, html);
  host.hidden = !html;
  const now = host.querySelector("[data-now]");
  if (now && name !== "drawer") now.scrollIntoView({ block: "nearest" });
}

/** Take up words and the address. */
function takePage(w) {
  w.page = w.model.get("page") || {};
  const { root, said } = w.parts;
  root.classList.toggle("whole", !w.page.height);
  root.style.height = w.page.height ? w.page.height + "px" : "";
  said.textContent = w.page.said || "";
  said.hidden = !w.page.said;
  if (!w.page.url) return;
  document.title = w.page.title;
  const asked = new URLSearchParams(w.page.url).toString();
  const here = new URLSearchParams(window.location.search).toString();
  if (asked === here) return;
  const go = w.addressed ? "pushState" : "replaceState";
  window.history[go](null, "", "?" + asked);
}

/** Hand a file to the person. */
function takeFile(w) {
  const { name, mime } = w.model.get("file") || {};
  if (!name) return;
  const link = element("a");
  link.href = URL.createObjectURL(new Blob([bytesOf(w.model.get("content"))], { type: mime }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

/** Listen to the page; what is returned ends that. */
function listenTo(w) {
  const { root } = w.parts;
  const heard = [
    [root, "click", (e) => onClick(w, e)],
    [root, "change", (e) => onChange(w, e)],
    [root, "input", (e) => onInput(w, e)],
    // on a page of its own wherever the focus is, in a notebook only within
    [w.page.url ? window : root, "keydown", (e) => onPageKey(w, e)],
    [root, "pointerdown", (e) => onPress(w, e)],
    [root, "pointerup", (e) => onRelease(w, e)],
    [window, "popstate", () => w.page.url && tell(w, "page.address", window.location.search)],
  ];
  for (const [where, name, hear] of heard) where.addEventListener(name, hear);
  return () => {
    for (const [where, name, hear] of heard) where.removeEventListener(name, hear);
  };
}

/** Draw a workspace into an element; what is returned takes it away again. */
function render({ model, el }) {
  const parts = buildPage();
  const w = { model, parts, page: {}, seq: 0, often: 0, bin: null, addressed: false };
  w.layout = new Layout(parts.root);
  w.palette = new Palette(parts.root, (command) => {
    if (command.fold) w.layout.fold(command.fold);
    else tell(w, command.act, command.value);
  });
  parts.root.append(
    element("style", "", PAGE_CSS),
    parts.top,
    parts.left,
    w.layout.splitter("left", parts.left, 1, "the findings"),
    parts.middle,
    w.layout.splitter("right", parts.right, -1, "item and selection"),
    parts.right,
  );
  const unfollow = followTheme(parts.root);
  const takers = SLOTS.map((name) => [name, () => takeSlot(w, name)]);
  takers.push(["page", () => takePage(w)], ["file", () => takeFile(w)]);
  for (const [name, take] of takers) model.on("change:" + name, take);
  for (const name of SLOTS) takeSlot(w, name);
  takePage(w);
  w.addressed = true;
  el.append(parts.root);
  const undraw = drawMap({ model, el: parts.map });
  const deaf = listenTo(w);
  if (w.page.url) parts.root.focus({ preventScroll: true });
  return () => {
    undraw();
    deaf();
    unfollow();
    for (const [name, take] of takers) if (model.off) model.off("change:" + name, take);
    parts.root.remove();
  };
}

export default { render };
