// Elements and numbers. Text from outside only ever becomes a text node.

export const byId = (id) => document.getElementById(id);

export function make(tag, className = "", text = "") {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== "") element.textContent = text;
  return element;
}

export function makeSvg(tag, attributes = {}, text = "") {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== "") element.textContent = text;
  return element;
}

export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

const whole = new Intl.NumberFormat("en");

export const count = (number) => whole.format(number);

const fourDigits = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });

export const amount = (number) => fourDigits.format(number);

export const percent = (part) => `${(100 * part).toFixed(1)} %`;

// A time in ms with its unit: three digits at most, since more would flicker and say nothing.
export function duration(ms) {
  if (ms < 10) return { value: ms.toFixed(1), unit: "ms" };
  if (ms < 1000) return { value: ms.toFixed(0), unit: "ms" };
  if (ms < 100_000) return { value: (ms / 1000).toFixed(1), unit: "s" };
  if (ms < 7_200_000) return { value: (ms / 60_000).toFixed(0), unit: "min" };
  return { value: (ms / 3_600_000).toFixed(0), unit: "h" };
}

export function durationText(ms) {
  const { value, unit } = duration(ms);
  return `${value} ${unit}`;
}

export const clockTime = (unixS) =>
  new Date(1000 * unixS).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });

export const shortSha = (sha256) => sha256.slice(0, 8);
