// The palette: a colour a code, as the texture that both ways of drawing read.

/** Codes there may be; the last is that of a point without a value. */
export const CODES = 65536;
/** The colour of what has none; Python's REST. */
export const REST = "#8a949e";

/** Red, green and blue, 0 to 255, of a colour like #8a949e. */
export function rgbOf(hex) {
  return [1, 3, 5].map((k) => parseInt(hex.slice(k, k + 2), 16));
}

/** How opaque a point is drawn: the more there are, the less. */
export function alphaOf(n) {
  return n > 400000 ? 90 : n > 60000 ? 140 : 220;
}

/** Fill `rgba` with the colour of each code of a legend; what `solo` leaves out is transparent. */
export function fillPalette(rgba, legend, promoted, solo, alpha) {
  const rest = rgbOf(legend.rest || REST);
  rgba.fill(0);
  if (legend.kind === "value") {
    (legend.colors || []).forEach((hex, k) => rgba.set([...rgbOf(hex), alpha], 4 * k));
  } else {
    (legend.entries || []).forEach((entry, k) => {
      const hex = promoted.get(k) || entry.color;
      const shown = solo === null || solo.has(k);
      rgba.set([...(hex ? rgbOf(hex) : rest), shown ? alpha : 0], 4 * k);
    });
  }
  rgba.set([...rest, solo === null ? 70 : 0], 4 * (CODES - 1));
}

/** Whether the colour of a code can be seen. */
export function isSeen(rgba, code) {
  return rgba[code * 4 + 3] > 2;
}

/** Whether a modality is switched off, in a number with a bit a modality. */
export function isOff(off, modality) {
  return ((off >> modality) & 1) === 1;
}

/** The codes of `count` that `solo` leaves out. */
export function hiddenCodes(solo, count) {
  if (!solo) return [];
  return Array.from({ length: count }, (_, k) => k).filter((k) => !solo.has(k));
}

/** The place on a ramp of `count` colours for a byte. */
export function rampPlace(byte, count) {
  return Math.min(count - 1, Math.floor((byte / 256) * count));
}
