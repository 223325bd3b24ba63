// A map of paired points, for anywidget in a notebook and for Panel's AnyWidgetComponent: one file, no build, no CDN.
//
// What comes in (Python sets it): `points` float32 x,y a point; `modality` uint8; `codes` uint16, the colour of each
// point; `mask`, one bit a point; `pairs` uint32 a,b and `pair_codes` uint8; `spec`, words and palettes;
// `tip`, the answer to a hover. What goes out: `gesture`, a polygon in data space; `asked`, the point under the pointer;
// `clicked`; `command`; `look`, which a map drawn anew on another screen takes up; `figures`, what was drawn how fast.
//
// Points arrive in a random order, so every prefix is a fair sample of all: while the view moves, as long a prefix is
// drawn as the machine manages at 30 frames/s; when it is still, all of them, a slice a frame.

const SLICE = 250000, LEAST = 4000, NEAR = 8, REST = 120, SLOP = 4, MORPH = 700, GRID = 96;
const CSS = `
.wbm{--ink:#1f2933;--faint:#616b75;--line:#dfe3e8;--paper:#ffffff;--accent:#0072B2;--chip:#f3f5f7;color:var(--ink);
 font:13px/1.4 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;position:relative;width:100%}
.wbm.dark{--ink:#e6e9ec;--faint:#9aa5b1;--line:#3a444e;--paper:#14181c;--accent:#56B4E9;--chip:#232a31}
.wbm .bar{display:flex;gap:4px;align-items:center;flex-wrap:wrap;min-height:32px;padding-bottom:4px}
.wbm button{font:inherit;color:var(--ink);background:var(--paper);border:1px solid var(--line);border-radius:4px;
 padding:2px 9px;cursor:pointer;min-height:26px}
.wbm button[aria-pressed=true]{background:var(--accent);border-color:var(--accent);color:#fff}
.wbm.dark button[aria-pressed=true]{color:#14181c}
.wbm button:focus-visible,.wbm .stage:focus-visible,.wbm input:focus-visible{outline:2px solid var(--accent);outline-offset:1px}
.wbm .hint,.wbm .faith{color:var(--faint);font-size:12px;margin-left:6px}
.wbm .faith{margin-left:auto;padding-left:14px;font-size:13px;font-family:ui-monospace,Menlo,Consolas,"Liberation Mono",monospace}
.wbm .stage{position:relative;border:1px solid var(--line);background:var(--paper);overflow:hidden;border-radius:4px;touch-action:none}
.wbm canvas,.wbm .still{position:absolute;left:0;top:0;width:100%;height:100%}
.wbm .stage.low canvas.base{filter:grayscale(.75) opacity(.7)}
.wbm .chip{position:absolute;left:8px;bottom:8px;background:var(--chip);border:1px solid var(--line);border-radius:13px;padding:2px 10px;font-size:12px}
.wbm .count{position:absolute;right:8px;bottom:8px;color:var(--faint);font:12px ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;background:var(--paper);padding:0 4px}
.wbm .tip{position:absolute;pointer-events:none;background:var(--paper);border:1px solid var(--line);border-radius:4px;padding:6px 8px;max-width:240px;font-size:12px;box-shadow:0 2px 8px rgba(0,0,0,.12);z-index:3}
.wbm .tip img{width:56px;height:56px;display:block}.wbm .tip b{display:block}.wbm .tip span{display:block;color:var(--faint)}
.wbm .legend{position:absolute;right:8px;top:8px;max-width:190px;max-height:calc(100% - 60px);overflow:auto;background:color-mix(in srgb,var(--paper) 88%,transparent);border:1px solid var(--line);border-radius:4px;padding:5px 6px;font-size:12px;z-index:2}
.wbm .legend input{width:100%;box-sizing:border-box;font:inherit;margin:2px 0 4px;color:var(--ink);background:var(--paper);border:1px solid var(--line);border-radius:3px}
.wbm .legend button{display:flex;width:100%;border:0;background:none;padding:0 2px;min-height:21px;gap:6px;align-items:center;text-align:left}
.wbm .legend button[aria-pressed=true]{background:var(--chip);color:var(--ink);font-weight:600}
.wbm .legend button.off{opacity:.35}.wbm .legend .n{margin-left:auto;color:var(--faint);font-family:ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;font-weight:400}
.wbm .legend .name{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}.wbm .legend svg{flex:none}
.wbm .help{position:absolute;inset:0;background:color-mix(in srgb,var(--paper) 94%,transparent);padding:20px 28px;z-index:4;columns:2}
.wbm .help kbd{font:12px ui-monospace,Menlo,Consolas,"Liberation Mono",monospace;border:1px solid var(--line);border-radius:3px;padding:0 5px;margin-right:6px}
.wbm [hidden]{display:none!important}`;

const VERTEX = `#version 300 es
in vec2 a; in vec2 b; in uint code; in uint shape; in uint state;
uniform vec4 view; uniform float t, size, faded; uniform uint off; uniform sampler2D palette;
flat out vec4 hue; flat out uint kind; flat out float px;
void main(){
  vec4 c = texelFetch(palette, ivec2(int(code & 255u), int(code >> 8u)), 0);
  bool gone = c.a < .01 || ((off >> shape) & 1u) == 1u;
  vec2 p = mix(a, b, t);
  gl_Position = gone ? vec4(2., 2., 2., 1.) : vec4((p - view.xy) * view.zw, 0., 1.);
  bool dim = faded > 0. && (state & 1u) == 0u;
  float grey = dot(c.rgb, vec3(.3, .6, .1));
  hue = dim ? vec4(mix(c.rgb, vec3(grey), .7), .16) : vec4(c.rgb, c.a);
  px = size + (faded > 0. && !dim ? 3. : 0.); gl_PointSize = px; kind = shape;
}`;
const FRAGMENT = `#version 300 es
precision mediump float; flat in vec4 hue; flat in uint kind; flat in float px; out vec4 o;
void main(){
  if (px >= 5.) {
    vec2 q = gl_PointCoord * 2. - 1.; vec2 r = abs(q); bool out_ = false;
    if (kind == 0u) out_ = dot(q, q) > 1.;
    else if (kind == 1u) out_ = r.x + r.y > 1.;
    else if (kind == 2u) out_ = max(r.x, r.y) > .8;
    else if (kind == 3u) out_ = q.y > .75 || r.x > (q.y + .95) * .55;
    else if (kind == 4u) out_ = abs(r.x - r.y) > .35;
    else if (kind == 5u) out_ = min(r.x, r.y) > .3;
    else if (kind == 6u) out_ = r.x * r.y > .12;
    else out_ = r.x > .87 || r.x * .5 + r.y * .87 > .87;
    if (out_) discard;
  }
  o = vec4(hue.rgb * hue.a, hue.a);
}`;

const bytes = (x) => !x ? new Uint8Array(0) : x.buffer ? new Uint8Array(x.buffer, x.byteOffset, x.byteLength) : new Uint8Array(x);
const typed = (Kind, x) => { const u = bytes(x); return new Kind(u.buffer.slice(u.byteOffset, u.byteOffset + u.byteLength)); };
const rgb = (hex) => [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
const make = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };

// -- drawing: one WebGL2 context a page, shared by all maps; or plain pixels ------------------------------------------

function sharedGL() {
  if (globalThis.__workbenchGL !== undefined) return globalThis.__workbenchGL;
  const canvas = document.createElement("canvas");
  const gl = canvas.getContext("webgl2", { antialias: false, preserveDrawingBuffer: true, premultipliedAlpha: true });
  if (!gl) return (globalThis.__workbenchGL = null);
  const shader = (kind, text) => {
    const s = gl.createShader(kind); gl.shaderSource(s, text); gl.compileShader(s);
    if (!gl.getShaderParameter(s, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(s));
    return s;
  };
  const program = gl.createProgram();
  gl.attachShader(program, shader(gl.VERTEX_SHADER, VERTEX)); gl.attachShader(program, shader(gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  const at = (n) => gl.getAttribLocation(program, n), un = (n) => gl.getUniformLocation(program, n);
  return (globalThis.__workbenchGL = {
    canvas, gl, program, owner: null, holder: null,
    a: at("a"), b: at("b"), code: at("code"), shape: at("shape"), state: at("state"),
    u: Object.fromEntries(["view", "t", "size", "faded", "off", "palette"].map((n) => [n, un(n)])),
  });
}

class Lit { // points by WebGL2
  constructor(shared) {
    this.kind = "webgl2"; this.s = shared; const gl = shared.gl; this.gl = gl;
    this.buffers = {}; this.vao = gl.createVertexArray(); this.texture = gl.createTexture(); this.picked = gl.createBuffer(); this.pickedCount = 0;
  }
  put(name, data, width, type) {
    const { gl, s } = this; gl.bindVertexArray(this.vao);
    if (!this.buffers[name]) this.buffers[name] = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]); gl.bufferData(gl.ARRAY_BUFFER, data, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(s[name]);
    if (type === gl.FLOAT) gl.vertexAttribPointer(s[name], width, type, false, 0, 0);
    else gl.vertexAttribIPointer(s[name], width, type, 0, 0);
    gl.bindVertexArray(null); s.owner = null;
  }
  layout(a, b) { this.put("a", a, 2, this.gl.FLOAT); this.put("b", b, 2, this.gl.FLOAT); }
  codes(x) { this.put("code", x, 1, this.gl.UNSIGNED_SHORT); }
  shapes(x) { this.put("shape", x, 1, this.gl.UNSIGNED_BYTE); }
  states(x, picked) {
    this.put("state", x, 1, this.gl.UNSIGNED_BYTE); const { gl } = this;
    this.pickedCount = picked.length;
    gl.bindVertexArray(this.vao); gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.picked); gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, picked, gl.STATIC_DRAW); gl.bindVertexArray(null);
  }
  palette(rgba) {
    const { gl } = this; gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 256, 0, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST); gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST); this.s.owner = null;
  }
  owned() { return this.s.owner === this; }
  // two maps that drew their slices in turn would each clear the other's for ever: one draws to its end, others wait
  held() { return this.s.holder && this.s.holder !== this; }
  hold(on) { if (on) this.s.holder = this; else if (this.s.holder === this) this.s.holder = null; }
  draw(ctx, v, from, to, clear) { // points from..to of the current view onto a 2D canvas
    const { gl, s } = this, w = ctx.canvas.width, h = ctx.canvas.height;
    if (s.canvas.width !== w || s.canvas.height !== h) { s.canvas.width = w; s.canvas.height = h; clear = true; }
    gl.viewport(0, 0, w, h); gl.useProgram(s.program); gl.bindVertexArray(this.vao);
    if (clear) { gl.clearColor(0, 0, 0, 0); gl.clear(gl.COLOR_BUFFER_BIT); }
    gl.enable(gl.BLEND); gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.activeTexture(gl.TEXTURE0); gl.bindTexture(gl.TEXTURE_2D, this.texture); gl.uniform1i(s.u.palette, 0);
    gl.uniform4f(s.u.view, v.x, v.y, v.sx, v.sy); gl.uniform1f(s.u.t, v.t); gl.uniform1f(s.u.size, v.size); gl.uniform1f(s.u.faded, v.faded ? 1 : 0); gl.uniform1ui(s.u.off, v.off);
    gl.drawArrays(gl.POINTS, from, to - from);
    if (v.faded && v.last && this.pickedCount) gl.drawElements(gl.POINTS, this.pickedCount, gl.UNSIGNED_INT, 0);
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, Lit.pixel); // wait, so that what is measured was drawn
    gl.bindVertexArray(null); s.owner = this;
    ctx.clearRect(0, 0, w, h); ctx.drawImage(s.canvas, 0, 0);
  }
  free() { const { gl } = this; Object.values(this.buffers).forEach((b) => gl.deleteBuffer(b)); gl.deleteBuffer(this.picked); gl.deleteTexture(this.texture); gl.deleteVertexArray(this.vao); if (this.s.owner === this) this.s.owner = null; this.hold(false); }
}
Lit.pixel = new Uint8Array(4);

class Plain { // points by writing pixels: slower, and runs wherever a canvas does
  constructor() { this.kind = "canvas2d"; }
  layout(a, b) { this.a = a; this.b = b; }
  codes(x) { this.c = x; }
  shapes(x) { this.s = x; }
  states(x, picked) { this.st = x; this.picked = picked; }
  palette(rgba) { this.p = rgba; }
  owned() { return true; }
  held() { return false; }
  hold() {}
  draw(ctx, v, from, to, clear) {
    const w = ctx.canvas.width, h = ctx.canvas.height;
    if (clear || !this.image || this.image.width !== w || this.image.height !== h) this.image = ctx.createImageData(w, h);
    for (let i = from; i < to; i++) this.dot(v, i, w, h, false);
    if (v.faded && v.last) for (const i of this.picked) this.dot(v, i, w, h, true);
    ctx.putImageData(this.image, 0, 0);
  }
  dot(v, i, w, h, top) {
    const c = this.c[i] * 4; if (this.p[c + 3] < 3 || (v.off >> this.s[i]) & 1) return;
    const px = (this.a[2 * i] * (1 - v.t) + this.b[2 * i] * v.t - v.x) * v.sx, py = (this.a[2 * i + 1] * (1 - v.t) + this.b[2 * i + 1] * v.t - v.y) * v.sy;
    if (!(px > -1 && px < 1 && py > -1 && py < 1)) return;
    const dim = v.faded && !top, s = Math.max(1, Math.round(v.size * .8 + (top ? 2 : 0))), x0 = Math.round((px + 1) * w / 2 - s / 2), y0 = Math.round((1 - py) * h / 2 - s / 2), d = this.image.data;
    const kind = this.s[i], mid = (s - 1) / 2;
    for (let y = Math.max(0, y0); y < Math.min(h, y0 + s); y++) for (let x = Math.max(0, x0); x < Math.min(w, x0 + s); x++) {
      if (s > 4) { const qx = Math.abs(x - x0 - mid) / (mid + .5), qy = Math.abs(y - y0 - mid) / (mid + .5); if (kind === 0 ? qx * qx + qy * qy > 1 : kind === 1 ? qx + qy > 1 : kind > 3 && Math.min(qx, qy) > .3) continue; }
      const k = (y * w + x) * 4;
      if (dim && d[k + 3]) continue;
      d[k] = this.p[c]; d[k + 1] = this.p[c + 1]; d[k + 2] = this.p[c + 2]; d[k + 3] = dim ? 40 : this.p[c + 3];
    }
  }
  free() {}
}

// -- density and its contours ------------------------------------------------------------------------------------------

function contours(xy, keep, box) {
  const g = new Float32Array(GRID * GRID), [x0, y0, x1, y1] = box, fx = (GRID - 1) / (x1 - x0 || 1), fy = (GRID - 1) / (y1 - y0 || 1);
  for (let i = 0; i < keep.length; i++) { const k = keep[i], x = Math.round((xy[2 * k] - x0) * fx), y = Math.round((xy[2 * k + 1] - y0) * fy); if (x >= 0 && y >= 0 && x < GRID && y < GRID) g[y * GRID + x]++; }
  const blur = (src, step, span) => { const out = new Float32Array(src.length); for (let i = 0; i < src.length; i++) { const p = Math.floor(i / step) % span; let s = 0; for (let o = -2; o <= 2; o++) if (p + o >= 0 && p + o < span) s += src[i + o * step]; out[i] = s / 5; } return out; };
  let f = g; for (let r = 0; r < 2; r++) f = blur(blur(f, 1, GRID), GRID, GRID);
  const sorted = Float32Array.from(f).sort().reverse(); let total = 0; for (const x of sorted) total += x;
  const out = [];
  for (const share of [.5, .9]) { // the smallest region that holds this share of the points
    let sum = 0, level = 0; for (const x of sorted) { sum += x; if (sum >= share * total) { level = x; break; } }
    if (level <= 0) continue;
    const lines = [], at = (x, y) => f[y * GRID + x] - level, cut = (p, q) => p / (p - q);
    for (let y = 0; y + 1 < GRID; y++) for (let x = 0; x + 1 < GRID; x++) {
      const a = at(x, y), b = at(x + 1, y), c = at(x + 1, y + 1), d = at(x, y + 1), hit = [];
      if (a > 0 !== b > 0) hit.push([x + cut(a, b), y]); if (b > 0 !== c > 0) hit.push([x + 1, y + cut(b, c)]);
      if (c > 0 !== d > 0) hit.push([x + 1 - cut(c, d), y + 1]); if (d > 0 !== a > 0) hit.push([x, y + 1 - cut(d, a)]);
      for (let k = 0; k + 1 < hit.length; k += 2) lines.push(x0 + hit[k][0] / fx, y0 + hit[k][1] / fy, x0 + hit[k + 1][0] / fx, y0 + hit[k + 1][1] / fy);
    }
    out.push(lines);
  }
  return out;
}

// -- which point is near: cells of a grid, built when first asked -------------------------------------------------------

class Near {
  constructor(xy, box) {
    const n = xy.length / 2; this.xy = xy; this.box = box; this.k = Math.max(8, Math.min(1024, Math.ceil(Math.sqrt(n / 4)))); const K = this.k;
    this.fx = K / (box[2] - box[0] || 1); this.fy = K / (box[3] - box[1] || 1);
    this.start = new Uint32Array(K * K + 1); const cell = new Uint32Array(n);
    for (let i = 0; i < n; i++) { cell[i] = this.cell(xy[2 * i], xy[2 * i + 1]); this.start[cell[i] + 1]++; }
    for (let c = 0; c < K * K; c++) this.start[c + 1] += this.start[c];
    const fill = this.start.slice(0, -1); this.list = new Uint32Array(n); for (let i = 0; i < n; i++) this.list[fill[cell[i]]++] = i;
  }
  col(x) { return Math.max(0, Math.min(this.k - 1, Math.floor((x - this.box[0]) * this.fx))); }
  row(y) { return Math.max(0, Math.min(this.k - 1, Math.floor((y - this.box[1]) * this.fy))); }
  cell(x, y) { return this.row(y) * this.k + this.col(x); }
  find(x, y, rx, ry, visible) {
    let best = -1, least = 1;
    for (let r = this.row(y - ry); r <= this.row(y + ry); r++) for (let c = this.col(x - rx); c <= this.col(x + rx); c++)
      for (let j = this.start[r * this.k + c]; j < this.start[r * this.k + c + 1]; j++) {
        const i = this.list[j], d = ((this.xy[2 * i] - x) / rx) ** 2 + ((this.xy[2 * i + 1] - y) / ry) ** 2;
        if (d < least && visible(i)) { least = d; best = i; }
      }
    return best;
  }
}

// -- the map -----------------------------------------------------------------------------------------------------------

function render({ model, el }) {
  const root = make("div", "wbm"), bar = make("div", "bar"), stage = make("div", "stage"), base = make("canvas", "base"), over = make("canvas");
  const chip = make("div", "chip"), count = make("div", "count"), tip = make("div", "tip"), legend = make("div", "legend"), help = make("div", "help"), hint = make("span", "hint"), faith = make("span", "faith");
  const style = make("style"); style.textContent = CSS; root.append(style, bar, stage); stage.append(base, over, legend, chip, count, tip, help); stage.tabIndex = 0; stage.setAttribute("role", "application");
  stage.setAttribute("aria-label", "map of embeddings; press ? for keys"); el.append(root); chip.hidden = tip.hidden = help.hidden = legend.hidden = true;
  const born = performance.now(), top = over.getContext("2d");
  let spec = model.get("spec") || {}, n = 0, from = new Float32Array(0), to = from, codes = new Uint16Array(0), shapes = new Uint8Array(0), states = new Uint8Array(0), pairs = new Uint32Array(0), pairCodes = new Uint8Array(0);
  let view = { x: 0, y: 0, z: 1 }, fit = { x: 0, y: 0, s: 1, r: 1 }, box = [-1, -1, 1, 1], t = 1, faded = false, off = 0, solo = null, mode = "move", near = null, rings = null, ratio = 1, W = 1, H = 1;
  let prefix = 60000, job = null, frame = 0, moving = false, flight = null, drag = null, rest = 0, seq = 0, first = 0, whole = 0, morphStart = 0, closed = false;
  const on = { lines: true, contours: false, labels: true }, frames = [];
  const shared = sharedGL(), brush = shared ? new Lit(shared) : base.getContext("2d") ? new Plain() : null, ctx = brush && base.getContext("2d");

  function send(values) { for (const k in values) model.set(k, values[k]); model.save_changes(); }
  const say = (name) => send({ command: { name, seq: ++seq } });
  function report() { send({ figures: { renderer: brush ? brush.kind : "png", points: n, first_ms: Math.round(first), all_ms: Math.round(whole), moving_fps: frames.length > 2 ? Math.round(1000 * (frames.length - 1) / (frames[frames.length - 1] - frames[0]) * 10) / 10 : null, moving_points: Math.min(prefix, n) } }); }
  if (!brush) { const still = make("img", "still"); still.alt = "map drawn on the server"; const show = () => { const p = bytes(model.get("png")); if (p.length) { still.src = URL.createObjectURL(new Blob([p], { type: "image/png" })); first = first || performance.now() - born; report(); } }; stage.insertBefore(still, over); model.on("change:png", show); show(); const ask = setInterval(() => (bytes(model.get("png")).length || closed ? clearInterval(ask) : say("picture")), 700); } // again and again, where the model does not listen yet

  // where things are: data -> clip -> pixels
  const scale = () => { const s = fit.s * view.z; return [s * 2 / W, s * fit.r * 2 / H]; };
  const centre = () => [fit.x + view.x, fit.y + view.y];
  const pixel = (x, y) => { const s = fit.s * view.z, c = centre(); return [W / 2 + (x - c[0]) * s, H / 2 - (y - c[1]) * s * fit.r]; };
  const data = (px, py) => { const s = fit.s * view.z, c = centre(); return [c[0] + (px - W / 2) / s, c[1] - (py - H / 2) / (s * fit.r)]; };
  const spot = (i) => [from[2 * i] * (1 - t) + to[2 * i] * t, from[2 * i + 1] * (1 - t) + to[2 * i + 1] * t];
  const visible = (i) => !((off >> shapes[i]) & 1) && rgba[codes[i] * 4 + 3] > 2;
  const dot = () => (n > 400000 ? 2 : n > 60000 ? 3 : n > 8000 ? 5 : n > 1500 ? 7 : 9) * ratio;

  function measure() {
    let a = Infinity, b = Infinity, c = -Infinity, d = -Infinity;
    for (let i = 0; i < to.length; i += 2) { const x = to[i], y = to[i + 1]; if (x < a) a = x; if (x > c) c = x; if (y < b) b = y; if (y > d) d = y; }
    if (!(a <= c)) { a = b = -1; c = d = 1; }
    box = [a, b, c, d]; near = null; rings = null; refit();
  }
  function refit() { // one scale for both axes, but where the axes mean different things (spec.free)
    const [a, b, c, d] = box, room = legend.hidden || W < 500 ? 0 : 100, sx = .92 * (W - room) / (c - a || 1), sy = .92 * (H - 40) / (d - b || 1);
    fit = spec.free ? { x: (a + c) / 2, y: (b + d) / 2, s: sx, r: sy / sx } : { x: (a + c) / 2, y: (b + d) / 2, s: Math.min(sx, sy), r: 1 };
    fit.x += room / 2 / fit.s; fit.y -= 10 / (fit.s * fit.r);
  }

  function paint() { // the next frame; a still view is drawn whole, slice by slice
    if (closed) return; job = null; if (!frame) frame = requestAnimationFrame(step);
  }
  function step(now) {
    frame = 0; if (closed || !n && brush) { overlay(); return; }
    if (flight) { const u = Math.min(1, (now - flight.start) / 500), e = 1 - (1 - u) ** 3; for (const k of "xyz") view[k] = flight.a[k] + (flight.b[k] - flight.a[k]) * e; if (u === 1) flight = null; }
    if (morphStart) { t = Math.min(1, (now - morphStart) / MORPH); t = t * t * (3 - 2 * t); if (t >= 1) { morphStart = 0; near = null; rings = null; } }
    if (!brush) { overlay(); return; }
    const busy = moving || flight || morphStart, [sx, sy] = scale(), c = centre(), v = { x: c[0], y: c[1], sx, sy, t, size: dot(), faded, off, last: true };
    if (busy) {
      brush.hold(true); const stop = Math.min(n, prefix), began = performance.now(); brush.draw(ctx, v, 0, stop, true); overlay(); job = null;
      frames.push(now); if (frames.length > 40) frames.shift();
      const spent = performance.now() - began; if (spent > 26) prefix = Math.max(LEAST, prefix * .75); else if (spent < 14) prefix = Math.min(4e6, prefix * 1.2); prefix = Math.round(prefix);
      frame = requestAnimationFrame(step); return;
    }
    if (brush.held()) { frame = requestAnimationFrame(step); return; }
    if (!job || !brush.owned()) job = { at: 0 };
    const start = job.at, stop = Math.min(n, start + (start ? SLICE : Math.min(SLICE, Math.max(LEAST, prefix)))); v.last = stop === n;
    brush.draw(ctx, v, start, stop, start === 0); job.at = stop; if (!start) overlay();
    if (!first && n) first = performance.now() - born;
    brush.hold(stop < n); if (stop < n) frame = requestAnimationFrame(step); else { const fresh = !whole; if (fresh) whole = performance.now() - born; if (fresh || frames.length) report(); frames.length = 0; }
  }
  function overlay() { // axes, lines between pairs, contours, labels, the lasso
    top.setTransform(ratio, 0, 0, ratio, 0, 0); top.clearRect(0, 0, W, H); const css = getComputedStyle(root), ink = css.getPropertyValue("--ink"), faint = css.getPropertyValue("--faint"), paper = css.getPropertyValue("--paper");
    if (on.contours && n && !morphStart) {
      if (!rings) { rings = {}; for (let m = 0; m < (spec.modalities || []).length; m++) { const keep = []; for (let i = 0; i < Math.min(n, 200000); i++) if (shapes[i] === m && visible(i)) keep.push(i); if (keep.length > 20) rings[m] = contours(to, keep, box); } }
      for (const m in rings) { top.strokeStyle = spec.modalities[m].hue; rings[m].forEach((lines, k) => { top.lineWidth = k ? 1 : 2; top.beginPath(); for (let i = 0; i < lines.length; i += 4) { top.moveTo(...pixel(lines[i], lines[i + 1])); top.lineTo(...pixel(lines[i + 2], lines[i + 3])); } top.stroke(); }); }
    }
    if (on.lines && pairs.length) {
      const ramp = spec.ramp || ["#888888"]; top.lineWidth = 1; top.globalAlpha = pairs.length > 2000 ? .25 : .65;
      for (let k = 0; k < pairs.length / 2; k++) { const a = pairs[2 * k], b = pairs[2 * k + 1]; if (!visible(a) || !visible(b)) continue; top.strokeStyle = ramp[Math.min(ramp.length - 1, Math.floor(pairCodes[k] / 256 * ramp.length))]; top.beginPath(); top.moveTo(...pixel(...spot(a))); top.lineTo(...pixel(...spot(b))); top.stroke(); }
      top.globalAlpha = 1;
    }
    if (on.labels && spec.labels && !moving && !morphStart) {
      const taken = []; top.font = "600 12px system-ui, sans-serif"; top.textAlign = "center"; top.textBaseline = "middle";
      for (const l of spec.labels) { const [x, y] = pixel(l.x, l.y), w = top.measureText(l.text).width + 8; if (x < 0 || y < 0 || x > W || y > H || taken.some((r) => Math.abs(r.x - x) < (r.w + w) / 2 && Math.abs(r.y - y) < 17)) continue; taken.push({ x, y, w }); top.lineWidth = 3; top.strokeStyle = paper; top.strokeText(l.text, x, y); top.fillStyle = ink; top.fillText(l.text, x, y); if (taken.length > 60) break; }
      stage.dataset.labels = taken.length;
    }
    top.font = "12px ui-monospace, Menlo, Consolas, 'Liberation Mono', monospace"; top.fillStyle = faint; top.textBaseline = "alphabetic"; top.textAlign = "center";
    if (spec.axes) { top.fillText(spec.axes[0], W / 2, H - 8); top.save(); top.translate(14, H / 2); top.rotate(-Math.PI / 2); top.fillText(spec.axes[1], 0, 0); top.restore(); }
    if (drag && drag.path && drag.path.length > 1) { top.strokeStyle = css.getPropertyValue("--accent"); top.fillStyle = "rgba(0,114,178,.10)"; top.lineWidth = 1.5; top.beginPath(); drag.path.forEach((p, i) => (i ? top.lineTo(...p) : top.moveTo(...p))); top.closePath(); top.fill(); top.stroke(); }
    if (drag === null && hovered >= 0 && hovered < n) { const [x, y] = pixel(...spot(hovered)); top.strokeStyle = ink; top.lineWidth = 1.5; top.beginPath(); top.arc(x, y, dot() / ratio / 2 + 4, 0, 7); top.stroke(); }
  }

  // colours: a palette entry a code; hidden codes are transparent
  const rgba = new Uint8Array(65536 * 4); let hovered = -1, promoted = new Map();
  function palette() {
    const L = spec.legend || {}, entries = L.entries || [], rest = rgb(L.rest || "#8a949e"); rgba.fill(0);
    if (L.kind === "value") (L.colors || []).forEach((hex, k) => rgba.set([...rgb(hex), alpha()], 4 * k));
    else entries.forEach((e, k) => { const hex = promoted.get(k) || e.color; rgba.set([...(hex ? rgb(hex) : rest), solo !== null && !solo.has(k) ? 0 : alpha()], 4 * k); });
    rgba.set([...rest, solo === null ? 70 : 0], 4 * 65535); if (brush) brush.palette(rgba);
  }
  const alpha = () => (n > 400000 ? 90 : n > 60000 ? 140 : 220);
  function glyph(shape, hue) {
    const s = document.createElementNS("http://www.w3.org/2000/svg", "svg"), p = document.createElementNS(s.namespaceURI, "path"), d = { circle: "M6 1a5 5 0 1 0 .01 0z", diamond: "M6 0 12 6 6 12 0 6z", square: "M1 1h10v10H1z", "triangle-up": "M6 0 12 11H0z", x: "M2 0 6 4 10 0 12 2 8 6 12 10 10 12 6 8 2 12 0 10 4 6 0 2z", cross: "M4 0h4v4h4v4H8v4H4V8H0V4h4z", star: "M6 0 7.6 4.4 12 6 7.6 7.6 6 12 4.4 7.6 0 6 4.4 4.4z", hexagon: "M3 1h6l3 5-3 5H3L0 6z" }[shape] || "M1 1h10v10H1z";
    s.setAttribute("width", 12); s.setAttribute("height", 12); p.setAttribute("d", d); p.setAttribute("fill", hue); s.append(p); return s;
  }
  const SPARE = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#F0E442", "#000000"];
  function drawLegend() {
    const L = spec.legend || {}, mods = spec.modalities || []; legend.replaceChildren();
    if (mods.length > 1) for (const [m, e] of mods.entries()) { const b = make("button"); b.append(glyph(e.shape, L.kind === "modality" ? e.hue : "#8a949e"), make("span", "name", e.name), make("span", "n", (e.count || 0).toLocaleString())); b.title = "show or hide " + e.name; b.className = (off >> m) & 1 ? "off" : ""; b.onclick = () => { off ^= 1 << m; rings = null; drawLegend(); paint(); }; legend.append(b); }
    if (L.kind === "value") { const g = make("div"); g.style.cssText = `height:10px;margin:6px 0 2px;background:linear-gradient(90deg,${(L.colors || []).filter((_, i) => i % 32 === 0).join(",")})`; const r = make("div", "", ""); r.style.cssText = "display:flex;justify-content:space-between"; r.append(make("span", "n", L.low), make("span", "n", L.high)); legend.append(make("div", "name", L.title || ""), g, r); }
    if (L.kind === "category") {
      legend.append(make("div", "name", L.title || "")); const box_ = make("input"), list = make("div"), entries = L.entries || [];
      box_.placeholder = `search ${entries.length.toLocaleString()} values`; box_.setAttribute("aria-label", "search the legend"); if (entries.length > 8) legend.append(box_); legend.append(list);
      const rows = () => {
        const q = box_.value.toLowerCase(), hits = entries.map((e, k) => [e, k]).filter(([e, k]) => (q ? e.name.toLowerCase().includes(q) : e.color || promoted.has(k) || (solo && solo.has(k)))).slice(0, 40); list.replaceChildren();
        for (const [e, k] of hits) { const b = make("button"); b.append(glyph("square", promoted.get(k) || e.color || L.rest || "#8a949e"), make("span", "name", e.name), make("span", "n", e.count.toLocaleString())); b.setAttribute("aria-pressed", !!(solo && solo.has(k))); b.title = "click: only this; click again: all"; b.onclick = () => { if (!e.color && !promoted.has(k)) promoted.set(k, SPARE[promoted.size % SPARE.length]); if (solo && solo.has(k)) { solo.delete(k); if (!solo.size) solo = null; } else { solo = solo || new Set(); solo.add(k); } palette(); rings = null; rows(); paint(); }; list.append(b); }
        const rest = entries.filter((e, k) => !e.color && !promoted.has(k)); if (!q && rest.length) { const o = make("button"); o.append(glyph("square", L.rest || "#8a949e"), make("span", "name", `${rest.length.toLocaleString()} others`), make("span", "n", rest.reduce((s, e) => s + e.count, 0).toLocaleString())); o.disabled = true; list.append(o); }
      }; box_.oninput = rows; rows();
    }
    legend.hidden = !legend.children.length;
  }

  // the bar
  const buttons = {}; function button(key, text, title, act) { const b = make("button", "", text); b.title = title; b.onclick = act; buttons[key] = b; bar.append(b); return b; }
  const setMode = (m) => { mode = m; buttons.move.setAttribute("aria-pressed", m === "move"); buttons.select.setAttribute("aria-pressed", m === "select"); stage.style.cursor = m === "select" ? "crosshair" : "grab"; hint.textContent = m === "select" ? "drag around points · with shift a box · with ctrl add" : "drag to pan · scroll to zoom · click a point for its pair"; };
  const toggle = (k) => { on[k] = !on[k]; buttons[k].setAttribute("aria-pressed", on[k]); rings = null; overlay(); };
  button("move", "✥ move", "move the view (M)", () => setMode("move")); button("select", "◌ select", "select points (S)", () => setMode("select"));
  button("clear", "clear", "clear the selection (Esc)", () => say("clear")); button("recentre", "recentre", "show everything (0)", () => fly({ x: 0, y: 0, z: 1 })); button("undo", "↶", "undo (Ctrl-Z)", () => say("undo"));
  for (const [k, title] of [["lines", "lines between the modalities of selected items (L)"], ["contours", "density contours: half and nine tenths of each modality (C)"], ["labels", "names of groups (N)"]]) button(k, k, title, () => toggle(k)).setAttribute("aria-pressed", on[k]);
  button("help", "?", "keys (?)", () => (help.hidden = !help.hidden)); bar.append(hint, faith); setMode("move");
  for (const [k, what] of [["M", "move the view"], ["S", "select: drag around points"], ["⇧ drag", "select a box"], ["Ctrl", "add to the selection, Alt takes away"], ["Esc", "clear the selection"], ["Ctrl Z", "undo"], ["+ −", "zoom"], ["← ↑ → ↓", "pan"], ["0", "recentre"], ["L C N", "lines, contours, names"], ["?", "these keys"]]) { const p = make("p"); p.append(make("kbd", "", k), what); help.append(p); }
  help.onclick = () => (help.hidden = true);

  // gestures
  const where = (e) => { const r = stage.getBoundingClientRect(); return [(e.clientX - r.left) * W / r.width, (e.clientY - r.top) * H / r.height]; };
  let settle = 0; function nudge() { moving = true; paint(); clearTimeout(settle); settle = setTimeout(() => { moving = false; paint(); send({ look: { ...view, seq: ++seq } }); }, 180); }
  function fly(b) { flight = { a: { ...view }, b: { ...view, ...b }, start: performance.now() }; paint(); clearTimeout(settle); settle = setTimeout(() => send({ look: { ...view, seq: ++seq } }), 700); }
  stage.addEventListener("wheel", (e) => { if (help.hidden === false || legend.contains(e.target)) return; e.preventDefault(); const p = where(e), a = data(...p); view.z = Math.max(.3, Math.min(200, view.z * Math.exp(-e.deltaY * (e.deltaMode ? .05 : .0015)))); const b = data(...p); view.x += a[0] - b[0]; view.y += a[1] - b[1]; nudge(); }, { passive: false });
  stage.addEventListener("pointerdown", (e) => { if (e.button || legend.contains(e.target) || chip.contains(e.target) || !help.hidden) return; stage.focus({ preventScroll: true }); const p = where(e), pick = mode === "select" || e.shiftKey; drag = { p, last: p, moved: false, pick, rect: e.shiftKey, path: pick ? [p] : null, op: e.altKey ? "remove" : e.ctrlKey || e.metaKey ? "add" : "replace" }; stage.setPointerCapture(e.pointerId); tip.hidden = true; });
  stage.addEventListener("pointermove", (e) => {
    const p = where(e); clearTimeout(rest);
    if (!drag) { if (legend.contains(e.target)) return; rest = setTimeout(() => look(p), REST); return; }
    if (Math.hypot(p[0] - drag.p[0], p[1] - drag.p[1]) > SLOP) drag.moved = true; if (!drag.moved) return;
    if (drag.pick) { drag.path = drag.rect ? [drag.p, [p[0], drag.p[1]], p, [drag.p[0], p[1]]] : [...drag.path, p]; overlay(); }
    else { const a = data(...drag.last), b = data(...p); view.x += a[0] - b[0]; view.y += a[1] - b[1]; nudge(); } drag.last = p;
  });
  stage.addEventListener("pointerup", (e) => {
    if (!drag) return; const d = drag; drag = null;
    if (!d.moved) { const i = find(where(e)); if (i >= 0) send({ clicked: { point: i, op: d.op, seq: ++seq } }); }
    else if (d.pick && d.path.length > 2) { const hidden = []; if (solo) for (let k = 0; k < ((spec.legend || {}).entries || []).length; k++) if (!solo.has(k)) hidden.push(k); send({ gesture: { points: d.path.map((q) => data(...q)), op: d.op, off, hidden, seq: ++seq } }); }
    overlay();
  });
  stage.addEventListener("pointerleave", () => { clearTimeout(rest); hover(-1); });
  function find(p) { if (!n) return -1; if (!near) near = new Near(to, box); const s = fit.s * view.z; return near.find(...data(...p), NEAR / s, NEAR / (s * fit.r), visible); }
  function look(p) { const i = find(p); if (i >= 0) { tip.style.left = Math.min(p[0] + 14, W - 200) + "px"; tip.style.top = Math.min(p[1] + 14, H - 110) + "px"; } hover(i); }
  function hover(i) { if (i === hovered) return; hovered = i; tip.hidden = true; overlay(); send({ asked: i }); }
  const KEYS = { m: () => setMode("move"), s: () => setMode("select"), Escape: () => (help.hidden ? say("clear") : (help.hidden = true)), "+": () => { view.z = Math.min(200, view.z * 1.3); nudge(); }, "=": () => KEYS["+"](), "-": () => { view.z = Math.max(.3, view.z / 1.3); nudge(); }, 0: () => fly({ x: 0, y: 0, z: 1 }), l: () => toggle("lines"), c: () => toggle("contours"), n: () => toggle("labels"), "?": () => (help.hidden = !help.hidden), ArrowLeft: () => pan(-1, 0), ArrowRight: () => pan(1, 0), ArrowUp: () => pan(0, 1), ArrowDown: () => pan(0, -1) };
  const pan = (x, y) => { const s = 60 / (fit.s * view.z); view.x += x * s; view.y += y * s / fit.r; nudge(); };
  root.addEventListener("keydown", (e) => { if (e.target.tagName === "INPUT") return; if ((e.ctrlKey || e.metaKey) && e.key === "z") { say("undo"); e.preventDefault(); e.stopPropagation(); return; } if (e.ctrlKey || e.metaKey || e.altKey) return; const act = KEYS[e.key] || KEYS[e.key.toLowerCase()]; if (act) { act(); e.preventDefault(); e.stopPropagation(); } });

  // what Python says
  function takeLayout() {
    const next = typed(Float32Array, model.get("points")), fresh = next.length !== to.length || !n, calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    n = next.length / 2; if (!n) return;
    if (fresh || calm) { from = to = next; t = 1; morphStart = 0; } else { if (t < 1) for (let i = 0; i < from.length; i++) from[i] = from[i] * (1 - t) + to[i] * t; else from = to; to = next; t = 0; morphStart = performance.now(); }
    if (fresh) { shapes = typed(Uint8Array, model.get("modality")); takeCodes(true); takeStates(true); if (brush) brush.shapes(shapes); }
    if (brush) brush.layout(from, to); measure(); paint();
  }
  function takeCodes(quiet) { codes = typed(Uint16Array, model.get("codes")); if (codes.length !== n) codes = new Uint16Array(n); if (brush && n) brush.codes(codes); if (!quiet) { solo = null; promoted = new Map(); palette(); rings = null; paint(); } }
  function takeStates(quiet) {
    const mask = bytes(model.get("mask")); states = new Uint8Array(n); let k = 0; const has = mask.length * 8 >= n && n > 0;
    for (let i = 0; i < n; i++) k += states[i] = has ? (mask[i >> 3] >> (i & 7)) & 1 : 0;
    const picked = new Uint32Array(k); for (let i = 0, j = 0; i < n; i++) if (states[i]) picked[j++] = i;
    faded = k > 0 && k < n; if (brush && n) brush.states(states, picked); if (!quiet) { rings = null; paint(); }
  }
  function takePairs() { pairs = typed(Uint32Array, model.get("pairs")); pairCodes = bytes(model.get("pair_codes")); overlay(); }
  function takeSpec() {
    spec = model.get("spec") || {}; root.classList.toggle("dark", (matchMedia("(prefers-color-scheme: dark)").matches && !document.querySelector('[data-jp-theme-light="true"]')) || !!document.querySelector('[data-jp-theme-light="false"]'));
    stage.style.height = (spec.height || 520) + "px"; palette(); drawLegend(); faith.textContent = spec.faith || ""; stage.classList.toggle("low", !!spec.low); faith.title = spec.faith_title || "";
    count.textContent = `${(spec.items || 0).toLocaleString()} items · ${(n || spec.points || 0).toLocaleString()} points`; chip.hidden = !spec.selected; chip.replaceChildren(`✓ ${spec.selected || ""} `);
    if (spec.selected) { const x = make("button", "", "✕"); x.setAttribute("aria-label", "clear the selection"); x.style.cssText = "border:0;background:none;min-height:0;padding:0 2px"; x.onclick = () => say("clear"); chip.append(x); }
    paint();
  }
  function takeTip() { const a = model.get("tip") || {}; if (a.point !== hovered || hovered < 0) { tip.hidden = true; return; } tip.replaceChildren(); if (a.image) { const i = make("img"); i.src = a.image; i.alt = ""; tip.append(i); } tip.append(make("b", "", a.title || "")); for (const l of a.lines || []) tip.append(make("span", "", l)); tip.hidden = false; }
  const heard = { points: takeLayout, codes: () => takeCodes(), mask: () => takeStates(), pairs: takePairs, pair_codes: takePairs, spec: takeSpec, tip: takeTip };
  for (const k in heard) model.on("change:" + k, heard[k]);
  const size = () => { const r = stage.getBoundingClientRect(); if (!r.width) return; ratio = Math.min(2, devicePixelRatio || 1); W = r.width; H = r.height; for (const c of [base, over]) { c.width = Math.round(W * ratio); c.height = Math.round(H * ratio); } refit(); paint(); };
  const watch = new ResizeObserver(size); watch.observe(stage);
  takeSpec(); size(); takeLayout(); takePairs(); const look0 = model.get("look") || {}; if (look0.z) view = { x: look0.x || 0, y: look0.y || 0, z: look0.z };
  stage.__map = { pixel: (i) => pixel(...spot(i)), count: () => n, picked: () => states.reduce((s, x) => s + x, 0), figures: () => model.get("figures"), spin: (k) => { for (let i = 0; i < k; i++) setTimeout(() => { view.x += .002 / fit.s * W * .1; nudge(); }, 30 * i); } };
  return () => { closed = true; watch.disconnect(); cancelAnimationFrame(frame); clearTimeout(rest); clearTimeout(settle); if (brush) brush.free(); for (const k in heard) if (model.off) model.off("change:" + k, heard[k]); root.remove(); };
}
export default { render };
