// Points by WebGL2. One context a page, shared by all maps: browsers give a page only a few.

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
const COLUMNS = ["a", "b", "code", "shape", "state"];
const UNIFORMS = ["view", "t", "size", "faded", "off", "palette"];

/** One compiled shader; what the driver says against it is thrown. */
function compiled(gl, kind, text) {
  const shader = gl.createShader(kind);
  gl.shaderSource(shader, text);
  gl.compileShader(shader);
  if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) {
    throw new Error(gl.getShaderInfoLog(shader));
  }
  return shader;
}

/** The page's context with its program, made by the first map that asks; null without WebGL2. */
export function sharedGL() {
  if (globalThis.__workbenchGL !== undefined) return globalThis.__workbenchGL;
  const canvas = document.createElement("canvas");
  const wanted = { antialias: false, preserveDrawingBuffer: true, premultipliedAlpha: true };
  const gl = canvas.getContext("webgl2", wanted);
  if (!gl) return (globalThis.__workbenchGL = null);
  const program = gl.createProgram();
  gl.attachShader(program, compiled(gl, gl.VERTEX_SHADER, VERTEX));
  gl.attachShader(program, compiled(gl, gl.FRAGMENT_SHADER, FRAGMENT));
  gl.linkProgram(program);
  const columns = COLUMNS.map((name) => [name, gl.getAttribLocation(program, name)]);
  const uniforms = UNIFORMS.map((name) => [name, gl.getUniformLocation(program, name)]);
  return (globalThis.__workbenchGL = {
    canvas,
    gl,
    program,
    owner: null,
    holder: null,
    ...Object.fromEntries(columns),
    u: Object.fromEntries(uniforms),
  });
}

/** A brush that draws points with the page's WebGL2 context and copies them to the map's canvas. */
export class GLBrush {
  /** The brush of one map: its own buffers in the shared context. */
  constructor(shared) {
    this.kind = "webgl2";
    this.shared = shared;
    this.gl = shared.gl;
    this.buffers = {};
    this.vao = this.gl.createVertexArray();
    this.texture = this.gl.createTexture();
    this.picked = this.gl.createBuffer();
    this.pickedCount = 0;
    this.pixel = new Uint8Array(4);
  }

  /** Put a column of the points into its buffer. */
  put(name, values, width, type) {
    const { gl, shared } = this;
    gl.bindVertexArray(this.vao);
    if (!this.buffers[name]) this.buffers[name] = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, this.buffers[name]);
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.STATIC_DRAW);
    gl.enableVertexAttribArray(shared[name]);
    if (type === gl.FLOAT) gl.vertexAttribPointer(shared[name], width, type, false, 0, 0);
    else gl.vertexAttribIPointer(shared[name], width, type, 0, 0);
    gl.bindVertexArray(null);
    shared.owner = null;
  }

  /** Take up where points are, and where they glide to. */
  layout(from, to) {
    this.put("a", from, 2, this.gl.FLOAT);
    this.put("b", to, 2, this.gl.FLOAT);
  }

  /** Take up the colour code of each point. */
  codes(values) {
    this.put("code", values, 1, this.gl.UNSIGNED_SHORT);
  }

  /** Take up the modality of each point, which is its shape. */
  shapes(values) {
    this.put("shape", values, 1, this.gl.UNSIGNED_BYTE);
  }

  /** Take up which points are selected, and their numbers. */
  states(values, picked) {
    const { gl } = this;
    this.put("state", values, 1, gl.UNSIGNED_BYTE);
    this.pickedCount = picked.length;
    gl.bindVertexArray(this.vao);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.picked);
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, picked, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
  }

  /** Take up the colour of each code. */
  palette(rgba) {
    const { gl } = this;
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, 256, 256, 0, gl.RGBA, gl.UNSIGNED_BYTE, rgba);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.NEAREST);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MAG_FILTER, gl.NEAREST);
    this.shared.owner = null;
  }

  /** Whether the shared canvas still shows what this map drew. */
  owned() {
    return this.shared.owner === this;
  }

  /** Whether another map draws its slices now: in turn, each would clear the other's for ever. */
  held() {
    return this.shared.holder && this.shared.holder !== this;
  }

  /** Keep the context until all is drawn, or let it go. */
  hold(on) {
    if (on) this.shared.holder = this;
    else if (this.shared.holder === this) this.shared.holder = null;
  }

  /** Draw points start..stop of a scene onto a 2D canvas. */
  draw(ctx, scene, start, stop, clear) {
    const { gl, shared } = this;
    const { width, height } = ctx.canvas;
    if (shared.canvas.width !== width || shared.canvas.height !== height) {
      shared.canvas.width = width;
      shared.canvas.height = height;
      clear = true;
    }
    gl.viewport(0, 0, width, height);
    gl.useProgram(shared.program);
    gl.bindVertexArray(this.vao);
    if (clear) {
      gl.clearColor(0, 0, 0, 0);
      gl.clear(gl.COLOR_BUFFER_BIT);
    }
    gl.enable(gl.BLEND);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    this.tell(scene);
    gl.drawArrays(gl.POINTS, start, stop - start);
    if (scene.faded && scene.last && this.pickedCount) {
      gl.drawElements(gl.POINTS, this.pickedCount, gl.UNSIGNED_INT, 0);
    }
    // reading waits, so that what is measured was drawn
    gl.readPixels(0, 0, 1, 1, gl.RGBA, gl.UNSIGNED_BYTE, this.pixel);
    gl.bindVertexArray(null);
    shared.owner = this;
    ctx.clearRect(0, 0, width, height);
    ctx.drawImage(shared.canvas, 0, 0);
  }

  /** Set the uniforms of a scene. */
  tell(scene) {
    const { gl } = this;
    const { u } = this.shared;
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.texture);
    gl.uniform1i(u.palette, 0);
    gl.uniform4f(u.view, scene.x, scene.y, scene.sx, scene.sy);
    gl.uniform1f(u.t, scene.t);
    gl.uniform1f(u.size, scene.size);
    gl.uniform1f(u.faded, scene.faded ? 1 : 0);
    gl.uniform1ui(u.off, scene.off);
  }

  /** Give back all that this map holds in the context. */
  free() {
    const { gl } = this;
    Object.values(this.buffers).forEach((buffer) => gl.deleteBuffer(buffer));
    gl.deleteBuffer(this.picked);
    gl.deleteTexture(this.texture);
    gl.deleteVertexArray(this.vao);
    if (this.shared.owner === this) this.shared.owner = null;
    this.hold(false);
  }
}
