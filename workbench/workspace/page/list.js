// A page without a map: a bar and a body of HTML that Python makes. What goes out: `act`.

import { element } from "../../explorer/map/state.js";
import { followTheme, howOf, onChange, tell, TYPED, valueOf } from "./acts.js";
import { patch } from "./patch.js";
import { PAGE_CSS } from "./style.js";

/** A click on what has a name. */
function onListClick(w, e) {
  const hit = e.target.closest("[data-act]");
  if (!hit || hit.matches(TYPED) || hit.disabled) return;
  e.preventDefault();
  tell(w, hit.getAttribute("data-act"), valueOf(hit), howOf(e));
}

/** Draw a list into an element; what is returned takes it away again. */
function renderList({ model, el }) {
  const root = element("div", "wbs list");
  const parts = { top: element("header", "top"), body: element("main", "body") };
  const w = { model, seq: 0, often: 0 };
  root.append(element("style", "", PAGE_CSS), parts.top, parts.body);
  const unfollow = followTheme(root);
  const takers = Object.entries(parts).map(([name, host]) => [
    "change:" + name,
    () => patch(host, model.get(name) || ""),
  ]);
  const go = () => {
    const { search } = model.get("go") || {};
    if (search) window.location.search = search;
  };
  takers.push(["change:go", go]);
  for (const [name, take] of takers) model.on(name, take);
  for (const [, take] of takers.slice(0, 2)) take();
  root.addEventListener("click", (e) => onListClick(w, e));
  root.addEventListener("change", (e) => onChange(w, e));
  el.append(root);
  return () => {
    unfollow();
    for (const [name, take] of takers) if (model.off) model.off(name, take);
    root.remove();
  };
}

export default { render: renderList };
