// Panels that can be made wider and folded; the browser remembers how.

import { element } from "../../explorer/map/state.js";

const KEPT = "workbench.layout";
const NARROWEST = 180;
const WIDEST = 1600;
const STEP = 24;

/** What the browser remembers of the layout. */
function remembered() {
  try {
    return JSON.parse(localStorage.getItem(KEPT)) || {};
  } catch {
    return {};
  }
}

/** Let the browser remember the layout, if it can. */
function remember(sizes) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(sizes));
  } catch {
    // a browser without storage forgets
  }
}

/** The sizes of the panels of a root: what the person chose, else what the style says. */
export class Layout {
  /** The layout of one root. */
  constructor(root) {
    this.root = root;
    this.sizes = remembered();
    for (const name in this.sizes) this.show(name);
  }

  /** Show the size of a panel, in pixels; 0 is folded. */
  show(name) {
    const size = this.sizes[name];
    if (size === undefined) return;
    this.root.style.setProperty("--" + name, size + "px");
    this.root.classList.toggle("no-" + name, size === 0);
  }

  /** Take up another size of a panel. */
  take(name, size) {
    this.sizes[name] = size < NARROWEST / 2 ? 0 : Math.max(NARROWEST, Math.round(size));
    this.show(name);
    remember(this.sizes);
  }

  /** Fold a panel, or unfold it to the size of the style. */
  fold(name) {
    if (this.sizes[name] === 0) {
      delete this.sizes[name];
      this.root.style.removeProperty("--" + name);
      this.root.classList.remove("no-" + name);
      remember(this.sizes);
    } else this.take(name, 0);
  }

  /** A bar between a panel and the middle: dragged or by arrows, folded by Enter or two clicks. */
  splitter(name, panel, sign, word) {
    const bar = element("div", "splitter at-" + name);
    bar.tabIndex = 0;
    bar.setAttribute("role", "separator");
    bar.setAttribute("aria-label", `width of ${word}; Enter folds it`);
    bar.setAttribute("aria-orientation", "vertical");
    const width = () => panel.getBoundingClientRect().width;
    const told = new ResizeObserver(() => bar.setAttribute("aria-valuenow", Math.round(width())));
    bar.setAttribute("aria-valuenow", 0);
    bar.setAttribute("aria-valuemin", 0);
    bar.setAttribute("aria-valuemax", WIDEST);
    told.observe(panel);
    bar.addEventListener("pointerdown", (e) => {
      const begin = [e.clientX, width()];
      const move = (m) => this.take(name, begin[1] + sign * (m.clientX - begin[0]));
      const end = () => {
        bar.removeEventListener("pointermove", move);
        bar.removeEventListener("pointerup", end);
      };
      bar.setPointerCapture(e.pointerId);
      bar.addEventListener("pointermove", move);
      bar.addEventListener("pointerup", end);
    });
    bar.addEventListener("dblclick", () => this.fold(name));
    bar.addEventListener("keydown", (e) => {
      const by = { ArrowLeft: -STEP, ArrowRight: STEP }[e.key];
      if (e.key === "Enter") this.fold(name);
      else if (by) this.take(name, width() + sign * by);
      else return;
      e.preventDefault();
      e.stopPropagation();
    });
    return bar;
  }
}
