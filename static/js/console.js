// The console's page: two tabs over one link, and the buttons beside them.

import { Display } from "./console-display.js";
import { Link } from "./console-link.js";
import { Serial } from "./console-serial.js";

const VIEWS = { display: Display, serial: Serial };

class Console {
  constructor(root) {
    this.root = root;
    this.part = (name) => root.querySelector(`[data-console-${name}]`);
    this.tabs = [...root.querySelectorAll("[data-console-tab]")];
    this.screen = this.part("screen");
    this.view = null;
    this.wantsFocus = false;
    this.link = new Link({
      ticketUrl: root.dataset.ticketUrl,
      token: root.querySelector("[name=csrfmiddlewaretoken]").value,
      onState: (state, words, status) => this.show(state, words, status),
      onSocket: (socket) => this.attach(socket),
    });
    this.listen();
    this.choose(root.dataset.kind);
  }

  listen() {
    for (const tab of this.tabs) {
      tab.addEventListener("click", () => this.chooseToType(tab.dataset.consoleTab));
      tab.addEventListener("keydown", (event) => this.moveTab(event));
    }
    this.part("reconnect").addEventListener("click", () => this.reconnect());
    this.part("ctrl-alt-del").addEventListener("click", () => this.run(() => this.view.ctrlAltDel()));
    this.part("fit").addEventListener("click", (event) => this.toggleFit(event.currentTarget));
    this.part("fullscreen").addEventListener("click", () => this.toggleFullscreen());
    this.listenToPaste();
    this.listenToScreen();
    document.addEventListener("berth:replaced", () => this.link.wake()); // the machine's state may have changed
    addEventListener("pagehide", () => this.link.stop());
  }

  // -- what is connected

  // Whoever presses a tab wants to type into what it shows.
  chooseToType(kind) {
    this.wantsFocus = true;
    if (kind === this.kind) this.takeFocus();
    else this.choose(kind);
  }

  reconnect() {
    this.wantsFocus = true;
    this.link.start(this.kind);
  }

  choose(kind) {
    if (kind === this.kind) return;
    this.kind = kind;
    this.part("kind").value = kind;
    for (const tab of this.tabs) {
      const chosen = tab.dataset.consoleTab === kind;
      tab.setAttribute("aria-selected", chosen);
      tab.tabIndex = chosen ? 0 : -1;
      if (chosen) this.part("panel").setAttribute("aria-labelledby", tab.id);
    }
    for (const element of this.root.querySelectorAll("[data-console-for]")) {
      element.hidden = element.dataset.consoleFor !== kind;
    }
    const address = new URL(location.href);
    address.searchParams.set("kind", kind);
    history.replaceState(history.state, "", address);
    this.link.start(kind);
  }

  attach(socket) {
    this.view = new VIEWS[this.kind](this.screen, socket);
    if (this.kind === "display") this.view.fits = this.part("fit").getAttribute("aria-pressed") === "true";
  }

  detach() {
    const view = this.view;
    this.view = null;
    view?.close();
    this.screen.replaceChildren();
  }

  // `status` is the machine's, where that is why there is no console.
  show(state, words, status) {
    this.root.dataset.state = state;
    this.say(state === "connected" && this.kind === "serial" ? `${words}. Press Enter for a prompt.` : words);
    this.part("reconnect").hidden = state !== "ended";
    for (const button of this.root.querySelectorAll("[data-console-live]")) button.disabled = state !== "connected";
    if (state !== "connecting") this.showOff(state === "off", status);
    if (state !== "connected" && state !== "connecting") this.detach();
    if (state === "connected") this.takeFocus();
  }

  showOff(isOff, status) {
    this.screen.hidden = isOff;
    this.part("off").hidden = !isOff;
    this.part("start").hidden = status !== "stopped";
  }

  // Keys go to the machine, unless somebody is busy with something else on the page.
  takeFocus() {
    const active = document.activeElement;
    if (!this.view || !(this.wantsFocus || active === document.body || this.screen.contains(active))) return;
    this.wantsFocus = false;
    this.view.focus();
  }

  say(words) {
    this.part("status").textContent = words;
  }

  run(action) {
    action();
    this.view.focus();
  }

  // -- buttons

  moveTab(event) {
    if (event.key !== "ArrowRight" && event.key !== "ArrowLeft") return;
    const other = this.tabs.find((tab) => tab.tabIndex === -1);
    other.focus();
    this.choose(other.dataset.consoleTab);
  }

  toggleFit(button) {
    const fits = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", fits);
    if (this.kind === "display" && this.view) this.view.fits = fits;
  }

  toggleFullscreen() {
    if (document.fullscreenElement) document.exitFullscreen();
    else this.root.requestFullscreen();
  }

  listenToPaste() {
    const dialog = this.part("paste-dialog");
    const text = dialog.querySelector("textarea");
    this.part("paste").addEventListener("click", () => {
      text.value = "";
      dialog.showModal();
    });
    dialog.addEventListener("close", () => {
      if (dialog.returnValue === "type" && text.value) this.type(text.value);
      dialog.returnValue = "";
    });
  }

  async type(text) {
    if (!this.view) return;
    const view = this.view;
    view.focus();
    this.say("Typing");
    const missing = await view.type(text, () => view !== this.view);
    if (view !== this.view) return;
    this.say(missing ? `Typed. ${missing} characters are not on a US keyboard and were left out.` : "Typed");
  }

  // -- keys: all go to the machine, but for one that leaves

  listenToScreen() {
    this.screen.addEventListener("focus", () => this.view?.focus());
    this.screen.addEventListener("keydown", (event) => this.leave(event), { capture: true });
  }

  leave(event) {
    if (event.key !== "F6" || !event.shiftKey) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    for (const [key, code] of [["Shift", "ShiftLeft"], ["Shift", "ShiftRight"]]) {
      event.target.dispatchEvent(new KeyboardEvent("keyup", { key, code, bubbles: true }));
    }
    this.tabs.find((tab) => tab.tabIndex === 0).focus();
  }
}

for (const root of document.querySelectorAll("[data-console]")) new Console(root);
