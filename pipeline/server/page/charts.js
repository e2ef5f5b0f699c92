// The accuracy over time with a mark for each swap, and the histogram of batch sizes.

import { byId, clockTime, count, make, makeSvg, setText } from "./dom.js";

const HEIGHT = 240;
const EDGE = { left: 44, right: 14, top: 22, bottom: 24 };
const SMOOTHED_OVER_S = 10;
const GAP_S = 5;
const LEAST_SPAN_S = 60;
const LABEL_WIDTH = 34;

export function showHistory(view) {
  const hasTruth = view.history.length > 0;
  byId("history-card").hidden = !hasTruth;
  byId("batches-card").parentElement.classList.toggle("single", !hasTruth);
  if (!hasTruth) return;
  const box = byId("history");
  const width = Math.max(280, box.clientWidth);
  const first = Math.min(view.history[0].at, view.at - LEAST_SPAN_S);
  const x = (at) => EDGE.left + ((at - first) / (view.at - first)) * (width - EDGE.left - EDGE.right);
  const y = (part) => EDGE.top + (1 - part) * (HEIGHT - EDGE.top - EDGE.bottom);
  const svg = makeSvg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": "Accuracy over time" });
  drawAxes(svg, { x, y, width, first, last: view.at });
  for (const run of smoothedRuns(view.history)) drawRun(svg, run, x, y);
  drawSwaps(svg, view.swaps.filter((swap) => swap.at >= first), x);
  box.replaceChildren(svg);
}

function drawAxes(svg, { x, y, width, first, last }) {
  for (const part of [0, 0.25, 0.5, 0.75, 1]) {
    const line = { x1: EDGE.left, x2: width - EDGE.right, y1: y(part), y2: y(part), class: "grid" };
    svg.append(makeSvg("line", line));
    const text = { x: EDGE.left - 8, y: y(part) + 4, "text-anchor": "end" };
    svg.append(makeSvg("text", text, `${100 * part} %`));
  }
  const anchors = ["start", "middle", "end"];
  [first, (first + last) / 2, last].forEach((at, place) => {
    const text = { x: x(at), y: HEIGHT - 6, "text-anchor": anchors[place] };
    svg.append(makeSvg("text", text, clockTime(at)));
  });
}

// Averages over some seconds, but never over a swap or a pause: there the line begins anew, so
// that a better version shows as a step.
function smoothedRuns(history) {
  const runs = [];
  let recent = [];
  let before = null;
  for (const point of history) {
    if (before === null || before.version !== point.version || point.at - before.at > GAP_S) {
      runs.push([]);
      recent = [];
    }
    recent.push(point);
    recent = recent.filter((each) => point.at - each.at < SMOOTHED_OVER_S);
    const right = recent.reduce((sum, each) => sum + each.right, 0);
    const frames = recent.reduce((sum, each) => sum + each.frames, 0);
    runs.at(-1).push({ at: point.at, part: right / frames });
    before = point;
  }
  return runs;
}

function drawRun(svg, run, x, y) {
  const line = run.map((point) => `${x(point.at).toFixed(1)},${y(point.part).toFixed(1)}`).join(" L");
  if (run.length > 1) {
    const floor = `L${x(run.at(-1).at)},${y(0)} L${x(run[0].at)},${y(0)} Z`;
    svg.append(makeSvg("path", { d: `M${line} ${floor}`, class: "area" }));
  }
  // A run of one point has no length; its round ends make it a dot.
  svg.append(makeSvg("path", { d: `M${line}${run.length > 1 ? "" : " h0.01"}`, class: "line" }));
}

function drawSwaps(svg, swaps, x) {
  let freeFrom = 0;
  for (const swap of swaps) {
    const at = x(swap.at);
    const isSwap = swap.result === "swapped";
    const line = { x1: at, x2: at, y1: EDGE.top - 6, y2: HEIGHT - EDGE.bottom, class: isSwap ? "swap" : "refusal" };
    const mark = makeSvg("line", line);
    mark.append(makeSvg("title", {}, `version ${swap.version}: ${swap.result}`));
    svg.append(mark);
    if (isSwap && at >= freeFrom) {
      svg.append(makeSvg("text", { x: at, y: 11, "text-anchor": "middle", class: "swap-name" }, `v${swap.version}`));
      freeFrom = at + LABEL_WIDTH;
    }
  }
}

export function showBatches(view) {
  const total = view.batches.reduce((sum, row) => sum + row.batches, 0);
  setText(byId("batches-note"), total ? `last ${count(total)} batches` : "no batch yet");
  const most = Math.max(1, ...view.batches.map((row) => row.batches));
  const columns = view.batches.map(({ at_most: atMost, batches }) => {
    const column = make("div", "column");
    const bar = make("i");
    bar.style.height = `${(84 * batches) / most}%`;
    const from = Math.floor(atMost / 2) + 1;
    const range = from >= atMost ? `${atMost}` : `${from}–${atMost}`;
    column.append(make("span", "quiet", `${((100 * batches) / total).toFixed(0)} %`), bar, make("span", "", range));
    column.title = `${count(batches)} batches of ${range} frames`;
    return column;
  });
  byId("batches").replaceChildren(...columns);
}
