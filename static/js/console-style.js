// xterm.js puts its rules into <style> elements, which the content security policy forbids; constructed style sheets
// do the same and are not text in the page. So while it makes its elements, it gets the one where it asks for the other.

export function withoutStyleElements(work) {
  document.createElement = (name, options) =>
    name === "style" ? sheetHolder() : Document.prototype.createElement.call(document, name, options);
  try {
    work();
  } finally {
    delete document.createElement;
  }
}

function sheetHolder() {
  const holder = Document.prototype.createElement.call(document, "template");
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(holder, "textContent", { set: (rules) => sheet.replaceSync(rules) });
  holder.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    Element.prototype.remove.call(holder);
  };
  return holder;
}
