// <button data-drawer="id" aria-expanded> opens what has the id. Escape, [data-drawer-close] or leaving it closes it again.
const OPENER = "[data-drawer][aria-expanded=true]";

function set(opener, open) {
  const drawer = document.getElementById(opener.dataset.drawer);
  drawer.toggleAttribute("data-open", open);
  opener.setAttribute("aria-expanded", String(open));
  if (open) drawer.querySelector("a, button")?.focus();
}

function closeAll({ focus }) {
  for (const opener of document.querySelectorAll(OPENER)) {
    set(opener, false);
    if (focus) opener.focus();
  }
}

document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-drawer]");
  if (opener) set(opener, opener.getAttribute("aria-expanded") !== "true");
  else if (event.target.closest("[data-drawer-close]")) closeAll({ focus: true });
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") closeAll({ focus: true });
});

document.addEventListener("focusin", (event) => {
  const opener = document.querySelector(OPENER);
  if (opener && !opener.contains(event.target) && !document.getElementById(opener.dataset.drawer).contains(event.target)) {
    closeAll({ focus: false });
  }
});
