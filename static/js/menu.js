// <details data-menu> closes on Escape, on a click elsewhere and when the focus leaves; [data-drawer] opens the side bar.
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
  const toggle = event.target.closest("[data-drawer]");
  if (toggle) setDrawer(toggle, toggle.getAttribute("aria-expanded") !== "true");
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  const menu = document.querySelector("details[data-menu][open]");
  if (menu) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
  const toggle = document.querySelector("[data-drawer][aria-expanded=true]");
  if (toggle) {
    setDrawer(toggle, false);
    toggle.focus();
  }
});

document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.("details[data-menu][open]");
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

function setDrawer(toggle, open) {
  document.getElementById(toggle.dataset.drawer).toggleAttribute("data-open", open);
  toggle.setAttribute("aria-expanded", String(open));
}
