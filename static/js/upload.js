// A file goes to /api/v1/uploads in pieces. What has arrived stays there: a pause, a lost connection or a closed tab costs
// the rest of one piece. After a reload the same file is chosen again, and it goes on where it was.
const PIECE_BYTES = 8 * 1024 * 1024;
const API = "/api/v1/uploads";
const BACKOFF_MS = [1000, 2000, 4000, 8000, 15000];
const NOTICE_MS = 500;
const UNITS = ["B", "KiB", "MiB", "GiB", "TiB"];
const THIN_SPACE = "\u202f";

const form = document.querySelector("[data-upload]");
const panel = document.querySelector("[data-upload-progress]");
let current = null;

class Refused extends Error {
  constructor(problem) {
    super(problem.detail || "It was refused.");
    this.problem = problem;
  }
}
class Lost extends Error {}
class Paused extends Error {}

function size(bytes) {
  let unit = 0;
  let value = bytes;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${value >= 100 || unit === 0 ? Math.round(value) : Number(value.toPrecision(3))}${THIN_SPACE}${UNITS[unit]}`;
}

function left(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.round(seconds))}${THIN_SPACE}s left`;
  return seconds < 5400 ? `${Math.round(seconds / 60)}${THIN_SPACE}min left` : `${Math.round(seconds / 3600)}${THIN_SPACE}h left`;
}

async function call(method, address, body) {
  const headers = { "X-CSRFToken": form.querySelector("[name=csrfmiddlewaretoken]").value, Accept: "application/json" };
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(address, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
  if (!response || response.status >= 500) throw new Lost("The portal does not answer.");
  const answer = response.status === 204 ? {} : await response.json();
  if (!response.ok) throw new Refused(answer);
  return answer;
}

class Upload {
  // `upload` is what the API says of it; `sent` is how much is there.
  constructor(file, upload) {
    this.file = file;
    this.upload = upload;
    this.sent = upload.offset;
    this.readings = [];
    this.request = null;
    this.isPaused = false;
  }

  get address() {
    return `${API}/${this.upload.id}`;
  }

  async run() {
    this.isPaused = false;
    this.readings = [];
    for (let failures = 0; this.sent < this.file.size; ) {
      try {
        await this.sendPiece();
        failures = 0;
      } catch (error) {
        if (!(error instanceof Lost)) throw error;
        say("waiting", `The connection was lost; it goes on by itself. ${this.words()}`);
        await new Promise((done) => setTimeout(done, BACKOFF_MS[Math.min(failures, BACKOFF_MS.length - 1)]));
        failures += 1;
        if (this.isPaused) throw new Paused();
        this.sent = await call("GET", this.address).then((found) => found.offset).catch((problem) => {
          if (problem instanceof Lost) return this.sent;
          throw problem;
        });
      }
    }
    say("working", "All of it is there.");
    return call("POST", `${this.address}/actions/finish`);
  }

  sendPiece() {
    const piece = this.file.slice(this.sent, this.sent + PIECE_BYTES);
    const begun = this.sent;
    return new Promise((done, failed) => {
      const request = new XMLHttpRequest();
      this.request = request;
      request.open("PATCH", this.address);
      request.setRequestHeader("X-CSRFToken", form.querySelector("[name=csrfmiddlewaretoken]").value);
      request.setRequestHeader("Content-Type", "application/offset+octet-stream");
      request.setRequestHeader("Upload-Offset", String(begun));
      request.upload.addEventListener("progress", (event) => this.show(begun + event.loaded));
      request.addEventListener("load", () => {
        if (request.status === 204) {
          this.sent = Number(request.getResponseHeader("Upload-Offset"));
          this.show(this.sent);
          done();
        } else failed(this.refusal(request));
      });
      request.addEventListener("error", () => failed(new Lost()));
      request.addEventListener("abort", () => failed(this.isPaused ? new Paused() : new Lost()));
      request.send(piece);
    });
  }

  refusal(request) {
    const problem = request.getResponseHeader("Content-Type")?.includes("json") ? JSON.parse(request.responseText) : {};
    const again = ["upload_offset_mismatch", "upload_busy", "upload_interrupted", "too_many_uploads"];
    return request.status >= 500 || again.includes(problem.code) ? new Lost() : new Refused(problem);
  }

  show(sent) {
    const now = performance.now();
    this.readings = [...this.readings, [now, sent]].filter(([at]) => now - at < 15000);
    if (this.shownAt && now - this.shownAt < NOTICE_MS && sent < this.file.size) return;
    this.shownAt = now;
    this.seen = sent;
    say("working", this.words());
    const percent = this.file.size ? (100 * sent) / this.file.size : 100;
    panel.querySelector("rect").setAttribute("width", percent.toFixed(2));
    panel.querySelector("[role=progressbar]").setAttribute("aria-valuenow", Math.floor(percent));
  }

  words() {
    const sent = this.seen ?? this.sent;
    const [first] = this.readings;
    const seconds = first ? (performance.now() - first[0]) / 1000 : 0;
    const speed = seconds > 1 ? (sent - first[1]) / seconds : 0;
    const rest = speed > 0 ? `, ${left((this.file.size - sent) / speed)}` : "";
    return `${size(sent)} of ${size(this.file.size)}${rest}`;
  }

  pause() {
    this.isPaused = true;
    this.request?.abort();
  }
}

function say(state, words) {
  panel.hidden = false;
  panel.dataset.state = state;
  panel.querySelector("[data-upload-words]").textContent = words;
  panel.querySelector("[data-upload-pause]").hidden = state === "paused" || state === "failed";
  panel.querySelector("[data-upload-continue]").hidden = state !== "paused";
  panel.querySelector("[data-upload-drop]").hidden = state !== "paused" && state !== "failed";
}

async function go(file, upload) {
  current = new Upload(file, upload);
  panel.querySelector("[data-upload-name]").textContent = upload.name;
  form.hidden = true;
  for (const rest of document.querySelectorAll("[data-upload-rest]")) rest.hidden = true;
  await goOn();
}

async function goOn() {
  addEventListener("beforeunload", warn);
  current.show(current.sent);
  try {
    const { image } = await current.run();
    removeEventListener("beforeunload", warn);
    location.assign(`${form.dataset.images}${image.id}/`);
  } catch (error) {
    removeEventListener("beforeunload", warn);
    if (error instanceof Paused) say("paused", `Paused at ${size(current.seen ?? current.sent)} of ${size(current.file.size)}. What is there stays for a day.`);
    else say("failed", error.message);
  }
}

function warn(event) {
  event.preventDefault();
}

// -- a new one -------------------------------------------------------------------------------------------------------------

function wanted(file) {
  const fields = Object.fromEntries(new FormData(form));
  const body = { tenant: form.dataset.tenant, name: fields.name, format: fields.format, size_bytes: file.size, cloud_init: "has_cloud_init" in fields };
  for (const name of ["os", "default_user", "sha256"]) if (fields[name].trim()) body[name] = fields[name].trim();
  return body;
}

function complain(problem) {
  for (const old of form.querySelectorAll("[data-upload-error]")) old.remove();
  const about = problem.errors?.length ? problem.errors : [{ field: problem.field, detail: problem.detail }];
  for (const { field: named, detail } of about) {
    const field = { size_bytes: "file", slug: "name" }[named] ?? named;
    const place = form.elements[field]?.closest(".field") ?? form.querySelector("[data-upload-errors]");
    const line = document.createElement("p");
    line.className = "field__error";
    line.dataset.uploadError = "";
    line.setAttribute("role", "alert");
    line.textContent = detail;
    place.append(line);
    place.hidden = false;
  }
}

form?.addEventListener("submit", async (event) => {
  event.preventDefault();
  const [file] = form.elements.file.files;
  const button = form.querySelector("[data-upload-begin]");
  button.disabled = true;
  try {
    await go(file, await call("POST", API, wanted(file)));
  } catch (error) {
    complain(error.problem ?? { detail: error.message });
  } finally {
    button.disabled = false;
  }
});

// A file names itself, and mostly says what it is.
form?.elements.file.addEventListener("change", () => {
  const [file] = form.elements.file.files;
  if (!file) return;
  const [, stem, extension] = /^(.*?)(?:\.([a-z0-9]+))?$/i.exec(file.name);
  if (!form.elements.name.value) form.elements.name.value = stem.slice(0, 100);
  const format = { img: "qcow2", vhdx: "vhdx", vhd: "vhd" }[extension?.toLowerCase()] ?? extension?.toLowerCase();
  if ([...form.elements.format.options].some((option) => option.value === format)) form.elements.format.value = format;
  form.elements.has_cloud_init.checked = form.elements.format.value !== "iso";
});

// -- one that was begun before ---------------------------------------------------------------------------------------------

for (const input of document.querySelectorAll("[data-upload-again]")) {
  input.addEventListener("change", async () => {
    const [file] = input.files;
    const words = input.closest("tr").querySelector("[data-upload-mismatch]");
    words.hidden = !file || file.size === Number(input.dataset.size);
    if (!file || !words.hidden) return;
    try {
      await go(file, await call("GET", `${API}/${input.dataset.uploadAgain}`));
    } catch (error) {
      words.textContent = error.message;
      words.hidden = false;
    }
  });
}

for (const button of document.querySelectorAll("[data-upload-forget]")) {
  button.addEventListener("click", async () => {
    await call("DELETE", `${API}/${button.dataset.uploadForget}`).catch(() => null);
    location.reload();
  });
}

panel?.querySelector("[data-upload-pause]").addEventListener("click", () => current.pause());
panel?.querySelector("[data-upload-continue]").addEventListener("click", goOn);
panel?.querySelector("[data-upload-drop]").addEventListener("click", async () => {
  await call("DELETE", current.address).catch(() => null);
  location.reload();
});
