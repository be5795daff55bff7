// <button data-copy="text">, or data-copy-from="element id".
import { toast } from "./toast.js";

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-from]");
  if (!button) return;
  const text = button.dataset.copy ?? document.getElementById(button.dataset.copyFrom).textContent.trim();
  if (await copy(text, button)) toast("Copied.");
  else toast("The browser does not let this page copy; select the text and copy it by hand.", "attention");
});

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text, button);
  }
}

// The clipboard's own interface exists on https and localhost only, and a portal is often opened by a plain address.
function copyBySelection(text, button) {
  const field = document.createElement("textarea");
  field.className = "visually-hidden";
  field.readOnly = true;
  field.value = text;
  button.after(field); // beside the button, for a dialog lets nothing outside of it have the focus
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  button.focus();
  return done;
}
