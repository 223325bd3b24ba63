// Points by writing pixels: slower than WebGL2, and runs wherever a canvas does.

import { isOff, isSeen } from "./colours.js";

/** Whether a pixel of a large dot lies outside its modality's shape; x and y from −1 to 1. */
function isOutside(modality, x, y) {
  const qx = Math.abs(x);
  const qy = Math.abs(y);
  if (modality === 0) return qx * qx + qy * qy > 1;
  if (modality === 1) return qx + qy > 1;
  return modality > 3 && Math.min(qx, qy) > 0.3;
}

/** A brush with the methods of `GLBrush` that writes into the pixels of the map's canvas. */
export class CanvasBrush {
  /** The brush of one map. */
  constructor() {
    this.kind = "canvas2d";
  }

  /** Take up where points are, and where they glide to. */
  layout(from, to) {
    this.from = from;
    this.to = to;
  }

  /** Take up the colour code of each point. */
  codes(values) {
    this.code = values;
  }

  /** Take up the modality of each point, which is its shape. */
  shapes(values) {
    this.shape = values;
  }

  /** Take up the numbers of the selected points. */
  states(values, picked) {
    this.picked = picked;
  }

  /** Take up the colour of each code. */
  palette(rgba) {
    this.rgba = rgba;
  }

  /** Whether the canvas still shows what this map drew: it is its own. */
  owned() {
    return true;
  }

  /** Whether another map draws now: it does not matter here. */
  held() {
    return false;
  }

  /** Nothing is shared that could be kept. */
  hold() {}

  /** Draw points start..stop of a scene onto a 2D canvas. */
  draw(ctx, scene, start, stop, clear) {
    const { width, height } = ctx.canvas;
    const fits = this.image && this.image.width === width && this.image.height === height;
    if (clear || !fits) this.image = ctx.createImageData(width, height);
    for (let i = start; i < stop; i++) this.dot(scene, i, false);
    if (scene.faded && scene.last) for (const i of this.picked) this.dot(scene, i, true);
    ctx.putImageData(this.image, 0, 0);
  }

  /** Draw one point, `top` where it is selected and drawn again over the others. */
  dot(scene, i, top) {
    const { width, height } = this.image;
    if (!isSeen(this.rgba, this.code[i]) || isOff(scene.off, this.shape[i])) return;
    const { from, to } = this;
    const { t } = scene;
    const x = (from[2 * i] * (1 - t) + to[2 * i] * t - scene.x) * scene.sx;
    const y = (from[2 * i + 1] * (1 - t) + to[2 * i + 1] * t - scene.y) * scene.sy;
    if (!(x > -1 && x < 1 && y > -1 && y < 1)) return;
    const size = Math.max(1, Math.round(scene.size * 0.8 + (top ? 2 : 0)));
    const left = Math.round(((x + 1) * width) / 2 - size / 2);
    const high = Math.round(((1 - y) * height) / 2 - size / 2);
    this.fill(i, left, high, size, scene.faded && !top);
  }

  /** Fill the pixels of one point whose square begins at left, high. */
  fill(i, left, high, size, dim) {
    const { width, height, data } = this.image;
    const { rgba } = this;
    const c = this.code[i] * 4;
    const middle = (size - 1) / 2;
    const radius = middle + 0.5;
    const right = Math.min(width, left + size);
    const low = Math.min(height, high + size);
    for (let y = Math.max(0, high); y < low; y++) {
      for (let x = Math.max(0, left); x < right; x++) {
        const qx = (x - left - middle) / radius;
        const qy = (y - high - middle) / radius;
        if (size > 4 && isOutside(this.shape[i], qx, qy)) continue;
        const k = (y * width + x) * 4;
        if (dim && data[k + 3]) continue;
        data[k] = rgba[c];
        data[k + 1] = rgba[c + 1];
        data[k + 2] = rgba[c + 2];
        data[k + 3] = dim ? 40 : rgba[c + 3];
      }
    }
  }

  /** Nothing is held that should be given back. */
  free() {}
}
