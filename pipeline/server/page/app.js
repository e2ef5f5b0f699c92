// Asks the worker for its figures twice a second and shows them.

import { showBatches, showHistory } from "./charts.js";
import { byId, clockTime, count, duration, durationText, make, percent, setText, shortSha } from "./dom.js";
import { showStreams } from "./streams.js";

const POLL_EVERY_MS = 500;
const ANSWER_WITHIN_MS = 3000;

let lastSeen = null;

async function poll() {
  try {
    const response = await fetch("live.json", { signal: AbortSignal.timeout(ANSWER_WITHIN_MS) });
    if (!response.ok) throw new Error(`the worker answered ${response.status}`);
    show(await response.json());
    lastSeen = new Date();
  } catch (error) {
    showLost();
    console.warn("no figures:", error);
  } finally {
    setTimeout(poll, POLL_EVERY_MS);
  }
}

function show(live) {
  showState(live);
  showModel(live.model);
  showFigures(live.view);
  showIdentity(live.frames);
  showStreams(live.view);
  showHistory(live.view);
  showBatches(live.view);
  showTrial(live.view.trial);
  showDrift(live.view.drift);
  showSwaps(live.view);
}

function showState(live) {
  const trouble = live.not_live ?? live.not_ready;
  byId("state").className = trouble === null ? "state ready" : "state waiting";
  setText(byId("state-text"), trouble ?? "ready");
  document.querySelector("main").classList.remove("lost");
}

function showLost() {
  byId("state").className = "state lost";
  const since = lastSeen === null ? "" : ` since ${clockTime(lastSeen / 1000)}`;
  setText(byId("state-text"), `connection lost${since}`);
  document.querySelector("main").classList.add("lost");
}

function showModel(model) {
  setText(byId("model-name"), model === null ? "no model yet" : `${model.name}@${model.version}`);
  setText(byId("model-digest"), model === null ? "" : shortSha(model.sha256));
  setText(byId("model-epoch"), model === null ? "" : `epoch ${model.epoch}`);
  byId("model-digest").title = model === null ? "" : `sha256 ${model.sha256}`;
  document.title = model === null ? "Headrace" : `${model.name}@${model.version} · Headrace`;
}

function showFigures(view) {
  const rate = view.frames_per_s;
  setText(byId("rate"), rate < 100 ? rate.toFixed(1) : count(Math.round(rate)));
  setText(byId("mean-batch"), view.mean_batch === null ? "" : `${view.mean_batch.toFixed(1)} in a batch`);
  showAge(byId("age-p50"), view.age_ms?.p50);
  showAge(byId("age-p99"), view.age_ms?.p99);
  byId("accuracy-card").hidden = view.accuracy === null;
  if (view.accuracy !== null) {
    setText(byId("accuracy"), percent(view.accuracy));
    setText(byId("accuracy-frames"), `of the last ${count(view.accuracy_frames)} frames`);
  }
}

function showAge(element, ms) {
  if (ms === undefined) {
    setText(element, "–");
    return;
  }
  const { value, unit } = duration(ms);
  element.replaceChildren(value, make("small", "", unit));
}

const TERMS = [["scored", "scored"], ["shed", "shed"], ["rejected", "rejected"], ["in_flight", "in flight"]];

function showIdentity(frames) {
  byId("identity").replaceChildren(
    term("", frames.received, "received", ""),
    ...TERMS.map(([key, name], place) => term(place === 0 ? "=" : "+", frames[key], name, key)),
  );
  const bar = byId("identity-bar");
  if (bar.children.length === 0) bar.append(...TERMS.map(([key]) => make("i", `of-${key}`)));
  TERMS.forEach(([key], place) => { bar.children[place].style.flexGrow = frames[key]; });
  const reasons = [
    ...Object.entries(frames.shed_by_reason).map(([why, n]) => `${count(n)} shed: ${why}`),
    ...Object.entries(frames.rejected_by_reason).map(([why, n]) => `${count(n)} rejected: ${why}`),
  ];
  setText(byId("reasons"), reasons.join(" · ").replaceAll("_", " "));
  byId("reasons").hidden = reasons.length === 0;
}

function term(sign, number, name, key) {
  const span = make("span", "term");
  if (sign) span.append(make("span", "sign", sign));
  if (key) span.append(make("i", `key of-${key}`));
  span.append(make("b", "", count(number)), make("span", "quiet", name));
  return span;
}

const TRIALS = { shadow: "in the shadow", canary: "canary" };

function showTrial(trial) {
  byId("trial").hidden = trial === null;
  if (trial === null) return;
  setText(byId("trial-kind"), TRIALS[trial.rollout]);
  setText(byId("trial-model"), `${trial.name}@${trial.version}`);
  setText(byId("trial-digest"), shortSha(trial.sha256));
  setText(byId("trial-since"), `on trial since ${clockTime(trial.since)}, ${count(trial.frames)} frames`);
  setText(byId("trial-findings"), trial.findings);
}

const MUCH = 0.25;
const SOME = 0.1;

function showDrift(drift) {
  const moved = Object.entries(drift?.moved ?? {});
  byId("drift-card").hidden = moved.length === 0;
  if (moved.length === 0) return;
  setText(byId("drift-note"), `of the last ${count(drift.frames)} frames compared, from what the model was published with`);
  byId("drift").replaceChildren(...moved.map(([statistic, { excess }]) => {
    const span = make("span", "term");
    const degree = excess >= MUCH ? "much" : excess >= SOME ? "some" : "none";
    span.append(make("b", `drift-${degree}`, excess.toFixed(2)), make("span", "quiet", statistic));
    return span;
  }));
}

function showSwaps(view) {
  byId("no-swaps").hidden = view.swaps.length > 0;
  byId("swaps").hidden = view.swaps.length === 0;
  const accuracies = new Map(view.versions.map((row) => [row.sha256, row.accuracy]));
  const rows = view.swaps.toReversed().map((swap) => {
    const isSwap = swap.result === "swapped";
    const row = make("tr");
    const result = make("td");
    result.append(make("span", `badge ${isSwap ? "swapped" : "refused"}`, swap.result.replaceAll("_", " ")));
    const version = make("td", "", `${swap.name}@${swap.version} `);
    version.append(make("span", "quiet mono", shortSha(swap.sha256)));
    const accuracy = isSwap ? accuracies.get(swap.sha256) : undefined;
    row.append(
      make("td", "", clockTime(swap.at)),
      version,
      result,
      make("td", "number", isSwap ? durationText(swap.pause_ms) : "–"),
      make("td", "number", accuracy === undefined ? "–" : percent(accuracy)),
      make("td", "quiet", swap.detail),
    );
    return row;
  });
  byId("swaps").tBodies[0].replaceChildren(...rows);
}

poll();
