// One console's connection: a ticket for each attempt, a WebSocket, and what to do when it ends.

const SECOND = 1000;
const BACKOFF = [0.5, 1, 2, 4, 8, 15].map((seconds) => seconds * SECOND);
const MACHINE_OFF = 3 * SECOND;
const STEADY_AFTER = 10 * SECOND; // a connection that lived this long was a good one: the next wait begins short again

// The codes of vms/console/closing.py.
const FINAL = new Set([4001, 4002, 4009]);
const BY_HAND = new Set([4004, 4005]);
const AT_ONCE = new Set([4008]);

class Refused extends Error {}
class MachineOff extends Error {
  constructor({ detail, status }) {
    super(detail);
    this.status = status;
  }
}

async function requestTicket(address, token, kind) {
  const response = await fetch(address, {
    method: "POST",
    headers: { "X-CSRFToken": token, Accept: "application/json" },
    body: new URLSearchParams({ kind }),
  });
  const isJson = (response.headers.get("Content-Type") || "").startsWith("application/json");
  if (response.redirected) throw new Refused("You are signed out. Sign in again to use the console.");
  const answer = isJson ? await response.json() : {};
  if (response.ok && answer.url) return answer.url;
  if (response.status === 409) throw new MachineOff(answer);
  if (response.status < 500) throw new Refused(answer.detail || "The console was refused. Reload the page.");
  throw new Error("The portal cannot open a console now.");
}

export class Link {
  // onState(state, words, status): state is connecting, connected, waiting, off (with the machine's status) or ended.
  // onSocket(socket): a new WebSocket.
  constructor({ ticketUrl, token, onState, onSocket }) {
    Object.assign(this, { ticketUrl, token, onState, onSocket });
    this.attempt = 0;
    this.failures = 0;
  }

  start(kind) {
    this.stop();
    this.kind = kind;
    this.failures = 0;
    this.connect(this.attempt);
  }

  stop() {
    this.attempt += 1; // whatever still comes from earlier attempts is not listened to
    clearTimeout(this.timer);
    this.socket?.close();
    this.socket = null;
  }

  wake() {
    // The machine may have changed: what waits for it tries now.
    if (this.state === "off") this.retry();
  }

  retry() {
    this.stop();
    this.connect(this.attempt);
  }

  tell(state, words, status) {
    this.state = state;
    this.onState(state, words, status);
  }

  async connect(attempt) {
    this.tell("connecting", "Connecting");
    let address;
    try {
      address = await requestTicket(this.ticketUrl, this.token, this.kind);
    } catch (error) {
      if (attempt === this.attempt) this.failed(error);
      return;
    }
    if (attempt === this.attempt) this.open(attempt, address);
  }

  open(attempt, address) {
    const url = new URL(address, location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url, ["binary"]);
    socket.binaryType = "arraybuffer";
    let openedAt = Infinity;
    socket.addEventListener("open", () => {
      openedAt = performance.now();
      if (attempt === this.attempt) this.tell("connected", "Connected");
    });
    socket.addEventListener("close", (event) => {
      if (attempt !== this.attempt) return;
      if (performance.now() - openedAt > STEADY_AFTER) this.failures = 0;
      this.closed(event.code, event.reason);
    });
    this.socket = socket;
    this.onSocket(socket);
  }

  failed(error) {
    if (error instanceof Refused) this.tell("ended", error.message);
    else if (error instanceof MachineOff) this.later("off", `${error.message} The console opens when it runs.`, MACHINE_OFF, error.status);
    else this.again("The portal does not answer.");
  }

  closed(code, reason) {
    const words = reason || "The connection was lost.";
    if (FINAL.has(code) || BY_HAND.has(code)) this.tell("ended", words);
    else if (AT_ONCE.has(code)) this.retry();
    else this.again(words);
  }

  again(words) {
    const wait = BACKOFF[Math.min(this.failures, BACKOFF.length - 1)];
    this.failures += 1;
    this.later("waiting", `${words} Connecting again.`, wait);
  }

  later(state, words, wait, status) {
    this.tell(state, words, status);
    const attempt = this.attempt;
    this.timer = setTimeout(() => whenVisible(() => attempt === this.attempt && this.retry()), wait);
  }
}

function whenVisible(then) {
  // A page that nobody looks at asks for nothing.
  if (!document.hidden) return then();
  document.addEventListener("visibilitychange", () => whenVisible(then), { once: true });
}
