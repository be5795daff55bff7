// The machine's screen, by noVNC.

import keysyms from "../vendor/novnc/core/input/keysymdef.js";
import RFB from "../vendor/novnc/core/rfb.js";

const SHIFT = 0xffe1;
const ENTER = 0xff0d;
const TAB = 0xff09;
const SHIFTED = /[A-Z~!@#$%^&*()_+{}|:"<>?]/;
const ON_THE_KEYBOARD = /[\x20-\x7e\n\t]/;
const KEY_MILLISECONDS = 15; // the guest's keyboard buffer holds 16 bytes

export class Display {
  constructor(container, socket) {
    this.rfb = new RFB(container, socket, { shared: true });
    this.rfb.scaleViewport = true;
    this.rfb.background = "transparent";
    this.rfb.addEventListener("disconnect", () => (this.isOver = true));
  }

  set fits(yes) {
    this.rfb.scaleViewport = yes;
    this.rfb.clipViewport = false;
  }

  focus() {
    this.rfb.focus({ preventScroll: true });
  }

  close() {
    if (!this.isOver) this.rfb.disconnect();
  }

  ctrlAltDel() {
    this.rfb.sendCtrlAltDel();
  }

  // Types as on a US keyboard; returns how many characters that keyboard does not have.
  async type(text, isOver) {
    let missing = 0;
    for (const character of text.replace(/\r\n?/g, "\n")) {
      if (isOver()) break;
      if (!ON_THE_KEYBOARD.test(character)) missing += 1;
      else this.press(character);
      await new Promise((done) => setTimeout(done, KEY_MILLISECONDS));
    }
    return missing;
  }

  press(character) {
    const keysym = { "\n": ENTER, "\t": TAB }[character] || keysyms.lookup(character.codePointAt(0));
    const shifted = SHIFTED.test(character);
    if (shifted) this.rfb.sendKey(SHIFT, "ShiftLeft", true);
    this.rfb.sendKey(keysym);
    if (shifted) this.rfb.sendKey(SHIFT, "ShiftLeft", false);
  }
}
