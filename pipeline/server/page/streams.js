// The grid of streams: one card each, made once and then only changed.

import { amount, byId, count, durationText, make, percent, setText } from "./dom.js";

const SILENT_AFTER_S = 5;

const cards = new Map();

// Pictures are fetched for cards on the screen only: a phone may show four of sixty-four.
const onScreen = new IntersectionObserver((entries) => {
  for (const entry of entries) entry.target.card.visible = entry.isIntersecting;
});

export function showStreams(view) {
  const names = new Set(view.streams.map((row) => row.stream));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.remove();
      cards.delete(name);
    }
  }
  const grid = byId("streams");
  view.streams.forEach((row, place) => {
    let card = cards.get(row.stream);
    if (!card) {
      card = new Card(row.stream);
      cards.set(row.stream, card);
      grid.insertBefore(card.root, grid.children[place] ?? null);
    }
    card.show(row);
  });
  byId("no-streams").hidden = view.streams.length > 0;
  const unseen = view.other.scored + view.other.shed + view.other.rejected;
  setText(byId("streams-note"), unseen ? `and ${count(unseen)} frames of other streams` : "");
}

class Card {
  constructor(name) {
    this.address = `streams/${encodeURIComponent(wellFormed(name))}.jpg`;
    this.visible = true;
    this.shownFrame = null;
    this.isFetching = false;
    this.root = make("article", "card stream");
    this.root.card = this;
    this.root.dataset.stream = name;
    const view = make("div", "view");
    this.image = make("img");
    this.image.alt = `last frame of ${name}`;
    this.badge = make("span", "badge");
    this.version = make("span", "badge version");
    view.append(this.image, this.badge, this.version);
    const about = make("div", "about");
    const head = make("div", "head");
    const title = make("span", "name", name);
    title.title = name;
    this.numbers = make("span", "numbers quiet");
    head.append(title, this.numbers);
    const answer = make("div", "answer");
    this.top = make("span", "top", "–");
    this.truth = make("span", "truth");
    answer.append(this.top, this.truth);
    this.guesses = make("div", "guesses");
    this.rejection = make("div", "rejection");
    about.append(head, answer, this.guesses, this.rejection);
    this.root.append(view, about);
    onScreen.observe(this.root);
  }

  remove() {
    onScreen.unobserve(this.root);
    if (this.image.src) URL.revokeObjectURL(this.image.src);
    this.root.remove();
  }

  show(row) {
    const { scored, shed, rejected } = row.outcomes;
    this.root.title = `${count(scored)} scored, ${count(shed)} shed, ${count(rejected)} rejected`;
    setText(this.rejection, row.last_rejection === null ? "" : `last rejection: ${row.last_rejection}`);
    this.rejection.hidden = row.last_rejection === null;
    const frame = row.frame;
    if (frame === null) {
      this.showBadge("no score yet", "");
      return;
    }
    if (row.idle_s > SILENT_AFTER_S) this.showBadge(`silent for ${durationText(1000 * row.idle_s)}`, "");
    else if (frame.fresh) this.showBadge("fresh", "fresh");
    else this.showBadge("stale", "stale");
    const accuracy = row.accuracy === null ? "" : `${percent(row.accuracy)} right · `;
    setText(this.numbers, `${accuracy}age ${durationText(frame.age_ms)}`);
    setText(this.top, headline(frame));
    this.truth.hidden = frame.is_right === null;
    if (frame.is_right !== null) {
      setText(this.truth, frame.is_right ? "✓ right" : `✗ it is ${frame.truth}`);
      this.truth.className = frame.is_right ? "truth right" : "truth wrong";
    }
    setText(this.version, `v${frame.model_version}`);
    this.version.title = "the version that scored this frame";
    this.showGuesses(guesses(frame));
    this.fetchPicture(frame.frame_id);
  }

  showBadge(text, kind) {
    setText(this.badge, text);
    this.badge.className = `badge ${kind}`;
  }

  showGuesses(guesses) {
    while (this.guesses.children.length > guesses.length) this.guesses.lastChild.remove();
    while (this.guesses.children.length < guesses.length) {
      const line = make("div", "guess");
      const track = make("span", "track");
      track.append(make("i"));
      line.append(make("span", "class"), track, make("span", "percent"));
      this.guesses.append(line);
    }
    guesses.forEach((guess, place) => {
      const [name, track, said] = this.guesses.children[place].children;
      setText(name, guess.name);
      name.title = guess.name;
      track.style.visibility = guess.share === null ? "hidden" : "visible";
      track.firstChild.style.width = `${100 * guess.share}%`;
      setText(said, guess.said);
    });
  }

  // Fetched into memory and shown when whole, so that the old picture stays until then.
  async fetchPicture(frameId) {
    if (this.isFetching || !this.visible || frameId === this.shownFrame) return;
    this.isFetching = true;
    try {
      const response = await fetch(this.address, { signal: AbortSignal.timeout(10_000) });
      if (!response.ok) return;
      const before = this.image.src;
      this.image.src = URL.createObjectURL(await response.blob());
      if (before) URL.revokeObjectURL(before);
      this.shownFrame = frameId;
    } catch {
      // The next poll says whether the worker is gone, and asks for this picture again.
    } finally {
      this.isFetching = false;
    }
  }
}

// What a result says in one line: the class, the labels that are more likely than not, or the first value.
function headline(frame) {
  if (frame.task === "regression") return `${frame.values[0].name}: ${amount(frame.values[0].value)}`;
  if (frame.task === "single-label") return frame.predictions[0].class;
  const likely = frame.predictions.filter((prediction) => prediction.confidence > 0.5);
  return likely.map((prediction) => prediction.class).join(", ") || "none";
}

function guesses(frame) {
  if (frame.task === "regression") {
    return frame.values.map(({ name, value }) => ({ name, share: null, said: amount(value) }));
  }
  return frame.predictions.map((prediction) => {
    return { name: prediction.class, share: prediction.confidence, said: percent(prediction.confidence) };
  });
}

function wellFormed(name) {
  return name.toWellFormed ? name.toWellFormed() : name.replace(/[\ud800-\udfff]/gu, "\ufffd");
}
