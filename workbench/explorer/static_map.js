// The model that the map talks to where no Python is behind it: hover and selection are answered
// from what the page holds. `data`, `item` (the item of each point, counted within the page) and
// `names` (of those items) stand before it.
const model = {
  data,
  heard: {},
  chosen: new Set(),
  get(k) {
    return this.data[k];
  },
  on(k, f) {
    (this.heard[k] = this.heard[k] || []).push(f);
  },
  off(k, f) {
    this.heard[k] = (this.heard[k] || []).filter((g) => g !== f);
  },
  save_changes() {},
  tell(k, v) {
    this.data[k] = v;
    (this.heard["change:" + k] || []).forEach((f) => f());
  },
  choose(chosen) {
    const mask = new Uint8Array((item.length + 7) >> 3);
    this.chosen = chosen;
    for (let i = 0; i < item.length; i++) if (chosen.has(item[i])) mask[i >> 3] |= 1 << (i & 7);
    this.tell("pairs", new Uint8Array(0)); // their colour is a similarity, which only Python knows
    this.tell("mask", chosen.size ? mask : new Uint8Array(0));
    this.tell("spec", {
      ...this.data.spec,
      selected: chosen.size ? `${chosen.size.toLocaleString("en")} selected` : "",
    });
  },
  merge(found, op) {
    const kept = op === "replace" ? [] : [...this.chosen];
    this.choose(new Set(op === "remove" ? kept.filter((i) => !found.has(i)) : [...kept, ...found]));
  },
  set(k, v) {
    this.data[k] = v;
    if (k === "asked")
      this.tell(
        "tip",
        v < 0
          ? {}
          : {
              point: v,
              title: names[item[v]] || "",
              lines: [data.spec.modalities[data.modality[v]].name],
            },
      );
    else if (k === "clicked") this.merge(new Set([item[v.point]]), v.op);
    else if (k === "command" && v.name === "clear") this.choose(new Set());
    else if (k === "gesture") this.merge(within(v), v.op);
  },
};
function within({ points, off }) {
  // items with a point inside a polygon, of modalities that are shown
  const xy = new Float32Array(data.points.slice().buffer),
    found = new Set();
  for (let i = 0; i < item.length; i++) {
    if ((off >> data.modality[i]) & 1) continue;
    const x = xy[2 * i],
      y = xy[2 * i + 1];
    let inside = false;
    for (let a = 0, b = points.length - 1; a < points.length; b = a++) {
      const [ax, ay] = points[a],
        [bx, by] = points[b];
      if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
    }
    if (inside) found.add(item[i]);
  }
  return found;
}
for (let i = 0; i < item.length; i++)
  if ((data.mask[i >> 3] >> (i & 7)) & 1) model.chosen.add(item[i]);
