// Keeps [data-live="vm:<id> vms"] true: when the stream names one of its topics, the element is fetched anew from its
// data-live-url, or where it has none out of the page itself, and replaced. The stream carries no data, so what is shown
// always comes through the ordinary, guarded address.
const POLL_MS = 5000;
const GATHER_MS = 60;
const BUSY_MS = 500;
const AGES_MS = 20000;
const waiting = new Set();
let pause = BUSY_MS;
let timer = null;
let poll = null;

const stream = document.body.dataset.liveStream;
let source = null;
let place = null;

if (stream && document.querySelector("[data-live]")) {
  follow();
  document.addEventListener("visibilitychange", follow);
  addEventListener("pageshow", follow);
  addEventListener("pagehide", close);
}

// A browser keeps few connections to one site open, so a tab that nobody sees gives its stream back.
function follow() {
  if (document.hidden) close();
  else if (!source) connect();
}

// What grows old without any news, such as "seen 3 s ago", has the topic "ages" and is looked at again while it is in view.
setInterval(() => {
  if (document.visibilityState === "visible") refresh(["ages"]);
}, AGES_MS);

// Each message says how far it reaches; whoever opens a stream says from where, and is told what came after.
function connect() {
  const address = new URL(stream, location.href);
  if (place) address.searchParams.set("since", place);
  source = new EventSource(address);
  source.addEventListener("open", stopPolling);
  source.addEventListener("message", (event) => {
    place = event.lastEventId || place;
    refresh(JSON.parse(event.data).topics);
  });
  source.addEventListener("error", () => {
    poll ??= setInterval(lookAgain, POLL_MS);
  });
}

// Without the stream everything is asked for anew. The browser reconnects by itself, but not after a refusal (502, 429).
function lookAgain() {
  refresh(["*"]);
  if (source?.readyState === EventSource.CLOSED) connect();
}

function close() {
  stopPolling();
  source?.close();
  source = null;
}

function stopPolling() {
  clearInterval(poll);
  poll = null;
}

function refresh(topics) {
  for (const element of document.querySelectorAll("[data-live]")) {
    const own = element.dataset.live.split(" ");
    if (topics.includes("*") || own.some((topic) => topics.includes(topic))) waiting.add(element.id);
  }
  timer ??= setTimeout(fetchWaiting, GATHER_MS);
}

async function fetchWaiting() {
  const ids = [...waiting];
  waiting.clear();
  pause = BUSY_MS;
  const answers = new Map();
  await Promise.allSettled(ids.map((id) => replace(id, answers)));
  timer = waiting.size ? setTimeout(fetchWaiting, pause) : null;
}

// What could not be had, by a network or a portal that is away for a moment, is asked for until it can.
function askLater(id) {
  waiting.add(id);
  pause = POLL_MS;
}

// What several elements are parts of is asked for once.
function answerOf(address, answers) {
  if (!answers.has(address)) answers.set(address, ask(address));
  return answers.get(address);
}

async function ask(address) {
  const headers = { "X-Requested-With": "live" };
  const response = await fetch(address, { headers, redirect: "manual" });
  return { response, html: response.ok ? await response.text() : "" };
}

async function replace(id, answers) {
  const asking = document.getElementById(id);
  if (!asking || isBusy(asking)) return;
  const address = asking.dataset.liveUrl ?? location.pathname + location.search;
  const { response, html } = await answerOf(address, answers).catch(() => ({}));
  const before = document.getElementById(id); // it may have been part of one that was replaced meanwhile
  if (!before) return;
  if (!response || response.status >= 500) return askLater(id);
  if (response.type === "opaqueredirect" || response.status === 401) return location.reload();
  if (response.headers.get("X-Berth-Go")) return location.assign(response.headers.get("X-Berth-Go"));
  if (response.status === 404 || response.status === 204) return before.dataset.liveGone ? location.assign(before.dataset.liveGone) : remove(before);
  if (response.ok && !isBusy(before)) swap(before, html);
}

function remove(element) {
  const parent = element.parentElement;
  element.remove();
  parent.dispatchEvent(new CustomEvent("berth:replaced", { bubbles: true }));
}

// A menu that is open, or a dialog, is not pulled away from under the pointer, nor a field from under the keys; a form that is
// on its way leads to another page.
const FIELD = "input:not([type=checkbox], [type=radio]), select, textarea";
const IN_USE = `details[data-menu][open], dialog[open], form[data-sent], :is(${FIELD}):focus`;

function isBusy(element) {
  const busy = element.matches(IN_USE) || element.querySelector(IN_USE);
  if (busy) waiting.add(element.id);
  return busy;
}

function swap(before, html) {
  const template = document.createElement("template");
  template.innerHTML = html;
  const after = template.content.querySelector(`#${CSS.escape(before.id)}`);
  if (!after || after.outerHTML === before.outerHTML) return;
  const focused = sameAs(document.activeElement, before);
  keepChoices(before, after);
  const words = after.dataset.liveAnnounce;
  if (words && words !== before.dataset.liveAnnounce) announce(words);
  before.replaceWith(after);
  focused?.(after)?.focus();
  after.dispatchEvent(new CustomEvent("berth:replaced", { bubbles: true }));
}

function keepChoices(before, after) {
  for (const box of before.querySelectorAll("input[type=checkbox]:checked[id]")) {
    const same = after.querySelector(`#${CSS.escape(box.id)}`);
    if (same) same.checked = true;
  }
  for (const field of before.querySelectorAll("input[id]:not([type=checkbox], [type=radio], [type=hidden]), textarea[id]")) {
    const same = after.querySelector(`#${CSS.escape(field.id)}`);
    if (same && field.value !== field.defaultValue) same.value = field.value;
  }
  for (const choice of before.querySelectorAll("select[id]")) {
    const same = after.querySelector(`#${CSS.escape(choice.id)}`);
    if ([...(same?.options ?? [])].some((option) => option.value === choice.value)) same.value = choice.value;
  }
  for (const open of before.querySelectorAll("details[open][id]")) {
    after.querySelector(`#${CSS.escape(open.id)}`)?.setAttribute("open", "");
  }
}

// How the focused element is found again in what replaces it: by its id, else by its name.
function sameAs(element, root) {
  if (!root.contains(element) || element === root) return null;
  if (element.id) return (after) => after.querySelector(`#${CSS.escape(element.id)}`);
  const name = (each) => each.getAttribute("aria-label") ?? each.textContent.trim();
  return (after) => [...after.querySelectorAll(element.tagName)].find((each) => name(each) === name(element));
}

function announce(words) {
  document.querySelector("[data-announcer]").textContent = words;
}
