// Keeps [data-live="vm:<id> vms"] true: when the stream names one of its topics, the element is fetched anew from its
// data-live-url and replaced. The stream carries no data, so what is shown always comes through the ordinary, guarded address.
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
  await Promise.allSettled(ids.map(replace));
  timer = waiting.size ? setTimeout(fetchWaiting, pause) : null;
}

// What could not be had, by a network or a portal that is away for a moment, is asked for until it can.
function askLater(id) {
  waiting.add(id);
  pause = POLL_MS;
}

async function replace(id) {
  const before = document.getElementById(id);
  if (!before || isBusy(before)) return;
  const headers = { "X-Requested-With": "live" };
  const response = await fetch(before.dataset.liveUrl, { headers, redirect: "manual" }).catch(() => null);
  if (!response || response.status >= 500) return askLater(id);
  if (response.type === "opaqueredirect" || response.status === 401) return location.reload();
  if (response.headers.get("X-Berth-Go")) return location.assign(response.headers.get("X-Berth-Go"));
  if (response.status === 404 || response.status === 204) return before.dataset.liveGone ? location.assign(before.dataset.liveGone) : remove(before);
  if (!response.ok) return;
  const html = await response.text();
  if (!isBusy(before)) swap(before, html);
}

function remove(element) {
  const parent = element.parentElement;
  element.remove();
  parent.dispatchEvent(new CustomEvent("berth:replaced", { bubbles: true }));
}

// A menu that is open, or a dialog, is not pulled away from under the pointer.
function isBusy(element) {
  const busy = element.querySelector("details[data-menu][open], dialog[open]");
  if (busy) waiting.add(element.id);
  return busy;
}

function swap(before, html) {
  const template = document.createElement("template");
  template.innerHTML = html.trim();
  const after = template.content.firstElementChild;
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
