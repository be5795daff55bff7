// xterm.js puts its rules into <style> elements, which the content security policy forbids; constructed style sheets
// do the same and are not text in the page. So it is given a document that makes the one where it asks for the other.

export function documentWithoutStyleElements() {
  return new Proxy(document, {
    get(target, name) {
      if (name === "createElement") return createElement;
      const value = Reflect.get(target, name, target);
      return typeof value === "function" ? value.bind(target) : value;
    },
  });
}

function createElement(name, options) {
  return name === "style" ? sheetHolder() : document.createElement(name, options);
}

function sheetHolder() {
  const holder = document.createElement("template");
  const sheet = new CSSStyleSheet();
  document.adoptedStyleSheets.push(sheet);
  Object.defineProperty(holder, "textContent", { set: (rules) => sheet.replaceSync(rules) });
  holder.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((each) => each !== sheet);
    Element.prototype.remove.call(holder);
  };
  return holder;
}
