// The machine's serial port, by xterm.js.

import { Terminal } from "../vendor/xterm/xterm.mjs";
import { withoutStyleElements } from "./console-style.js";

const COLUMNS = 80; // what a guest takes a serial terminal to be: lines would break at the wrong place in any other
const ROWS = 24;
const CELL_WIDTH = 0.602; // of the font's size
const CELL_HEIGHT = 1.2;
const PIECE = 4096;
const SMALLEST = 12; // smaller than this nobody reads it: a narrow window scrolls
const LARGEST = 18;

export class Serial {
  constructor(container, socket) {
    this.container = container;
    this.socket = socket;
    const style = getComputedStyle(container);
    this.terminal = new Terminal({
      cols: COLUMNS,
      rows: ROWS,
      scrollback: 5000,
      screenReaderMode: true,
      fontFamily: style.fontFamily,
      theme: { background: style.backgroundColor, foreground: style.color },
    });
    this.scale();
    withoutStyleElements(() => this.terminal.open(container));
    this.terminal.onData((text) => this.send(new TextEncoder().encode(text)));
    this.terminal.onBinary((text) => this.send(Uint8Array.from(text, (character) => character.charCodeAt(0))));
    socket.addEventListener("message", (event) => this.terminal.write(new Uint8Array(event.data)));
    this.resized = new ResizeObserver(() => this.scale());
    this.resized.observe(container);
  }

  // The terminal's size is fixed, so its font is what fits the window, as far as it can be read.
  scale() {
    const { clientWidth, clientHeight } = this.container;
    const size = Math.min(clientWidth / (COLUMNS * CELL_WIDTH), clientHeight / (ROWS * CELL_HEIGHT));
    this.terminal.options.fontSize = Math.max(SMALLEST, Math.min(LARGEST, Math.floor(size)));
  }

  send(bytes) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    for (let start = 0; start < bytes.length; start += PIECE) this.socket.send(bytes.subarray(start, start + PIECE));
  }

  focus() {
    this.terminal.focus();
  }

  close() {
    this.resized.disconnect();
    this.terminal.dispose();
    this.socket.close();
  }

  async type(text) {
    this.send(new TextEncoder().encode(text.replace(/\r\n?|\n/g, "\r")));
    return 0;
  }
}
