// What a map knows: one object that every function of it is given as `s`, and what is read off it.

import { CODES, isOff, isSeen } from "./colours.js";
import { cameraOf, project, spotBetween, unproject } from "./geometry.js";

/**
 * The elements of a map.
 * @typedef {object} Parts
 * @property {HTMLElement} root what a map adds to the page; it holds the bar and the stage
 * @property {HTMLElement} bar the buttons above, with hint and faith
 * @property {HTMLElement} stage all that follows lies on it
 * @property {HTMLCanvasElement} base the points
 * @property {HTMLCanvasElement} over what is drawn over them
 * @property {HTMLElement} legend
 * @property {HTMLElement} chip how much is selected
 * @property {HTMLElement} count
 * @property {HTMLElement} tip
 * @property {HTMLElement} help
 * @property {HTMLElement} hint
 * @property {HTMLElement} faith
 */

/**
 * What is dragged: a selection is a path in pixels, a shift of the view has none.
 * @typedef {object} Drag
 * @property {[number, number]} p where it began
 * @property {[number, number]} last
 * @property {boolean} moved
 * @property {boolean} pick
 * @property {boolean} rect
 * @property {[number, number][] | null} path
 * @property {"replace" | "add" | "remove"} op
 */

/**
 * The state of one map.
 * @typedef {object} State
 * @property {object} model what Python sets and hears
 * @property {Parts} parts
 * @property {Object<string, HTMLElement>} buttons those of the bar by name
 * @property {import("./gl.js").GLBrush | import("./canvas.js").CanvasBrush | null} brush
 * @property {CanvasRenderingContext2D | null} ctx of the points
 * @property {CanvasRenderingContext2D} top of what is drawn over them
 * @property {object} spec words and palettes
 * @property {number} n points
 * @property {Float32Array} from x, y of each point where it comes from
 * @property {Float32Array} to x, y of each point where it goes
 * @property {number} t how far it is on that way, 0 to 1
 * @property {Uint16Array} codes the place of each point's colour in the palette
 * @property {Uint8Array} shapes the modality of each point
 * @property {Uint8Array} states 1 where a point is selected
 * @property {Uint32Array} pairs the two points of each line
 * @property {Uint8Array} pairCodes the colour of each line on the ramp
 * @property {Uint8Array} rgba the palette
 * @property {import("./geometry.js").View} view
 * @property {import("./geometry.js").Fit} fit
 * @property {import("./geometry.js").Box} box
 * @property {number} width of the stage
 * @property {number} height of the stage
 * @property {number} ratio pixels of the canvas a pixel of the stage
 * @property {boolean} faded whether some points are selected and others are not
 * @property {number} off a bit a modality that is hidden
 * @property {Set<number> | null} solo the codes that alone are shown
 * @property {Map<number, string>} promoted codes that were given a colour by a click
 * @property {"move" | "select"} mode
 * @property {{lines: boolean, contours: boolean, labels: boolean}} on
 * @property {import("./geometry.js").GridIndex | null} near made when first asked
 * @property {Object<number, number[][]> | null} rings contours a modality, made when asked
 * @property {number} prefix how many points are drawn while the view moves
 * @property {{at: number} | null} job how far a still view is drawn
 * @property {number} frame the animation frame that is awaited
 * @property {boolean} moving
 * @property {{a: object, b: object, start: number} | null} flight of the view
 * @property {number} morphStart when the points set out, 0 where they rest
 * @property {Drag | null} drag
 * @property {number} hovered the point under the pointer, or −1
 * @property {number} rest the timer of a pointer that stands still
 * @property {number} settle the timer of a view that stands still
 * @property {number} seq counts messages, so that the same one can be sent twice
 * @property {number} born when the map was made
 * @property {number} first milliseconds until something was drawn
 * @property {number} whole milliseconds until everything was drawn
 * @property {number[]} frames when the last ones were drawn while the view moved
 * @property {boolean} closed
 */

/** The state of a map before Python has said anything. */
export function newState(model, parts) {
  const from = new Float32Array(0);
  return {
    model,
    parts,
    buttons: {},
    brush: null,
    ctx: null,
    top: parts.over.getContext("2d"),
    spec: model.get("spec") || {},
    n: 0,
    from,
    to: from,
    t: 1,
    codes: new Uint16Array(0),
    shapes: new Uint8Array(0),
    states: new Uint8Array(0),
    pairs: new Uint32Array(0),
    pairCodes: new Uint8Array(0),
    rgba: new Uint8Array(CODES * 4),
    view: { x: 0, y: 0, z: 1 },
    fit: { x: 0, y: 0, s: 1, r: 1 },
    box: [-1, -1, 1, 1],
    width: 1,
    height: 1,
    ratio: 1,
    faded: false,
    off: 0,
    solo: null,
    promoted: new Map(),
    mode: "move",
    on: { lines: true, contours: false, labels: true },
    near: null,
    rings: null,
    prefix: 60000,
    job: null,
    frame: 0,
    moving: false,
    flight: null,
    morphStart: 0,
    drag: null,
    hovered: -1,
    rest: 0,
    settle: 0,
    seq: 0,
    born: performance.now(),
    first: 0,
    whole: 0,
    frames: [],
    closed: false,
  };
}

/** An element with a class and a text. */
export function element(tag, cls, text) {
  const made = document.createElement(tag);
  if (cls) made.className = cls;
  if (text !== undefined) made.textContent = text;
  return made;
}

/** Whatever Python sent, a view of a buffer or nothing, as bytes. */
export function bytesOf(sent) {
  if (!sent) return new Uint8Array(0);
  if (!sent.buffer) return new Uint8Array(sent);
  return new Uint8Array(sent.buffer, sent.byteOffset, sent.byteLength);
}

/** Whatever Python sent as a typed array of a kind, copied to where its bytes are aligned. */
export function typed(Kind, sent) {
  const bytes = bytesOf(sent);
  return new Kind(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength));
}

/** Tell Python some values. */
export function send(s, values) {
  for (const key in values) s.model.set(key, values[key]);
  s.model.save_changes();
}

/** Tell Python a command by its name. */
export function say(s, name) {
  send(s, { command: { name, seq: ++s.seq } });
}

/** Tell Python what is looked at, for a map that is drawn anew on another screen. */
export function sendLook(s) {
  send(s, { look: { ...s.view, seq: ++s.seq } });
}

/** The camera as it stands. */
export function cameraNow(s) {
  return cameraOf(s.fit, s.view, s.width, s.height);
}

/** Pixels of a place in data space. */
export function pixelAt(s, x, y) {
  return project(cameraNow(s), x, y);
}

/** The place in data space of pixels. */
export function dataAt(s, px, py) {
  return unproject(cameraNow(s), px, py);
}

/** Pixels of point i, on its way if it is on one. */
export function pixelOf(s, i) {
  return pixelAt(s, ...spotBetween(s.from, s.to, s.t, i));
}

/** Whether point i is shown: neither its modality nor its code is hidden. */
export function isVisible(s, i) {
  return !isOff(s.off, s.shapes[i]) && isSeen(s.rgba, s.codes[i]);
}
