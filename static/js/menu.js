// <details data-menu> closes on Escape, on a click elsewhere and when the focus leaves; it opens upwards where there is no room below.
const OPEN = "details[data-menu][open]";

document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll(OPEN)) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  const menu = event.key === "Escape" && document.querySelector(OPEN);
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

document.addEventListener("focusout", (event) => {
  const menu = event.target.closest?.(OPEN);
  if (menu && event.relatedTarget && !menu.contains(event.relatedTarget)) menu.open = false;
});

// "toggle" does not bubble, so it is heard on its way down.
document.addEventListener("toggle", (event) => event.target.matches("details[data-menu]") && place(event.target), true);

function place(menu) {
  menu.removeAttribute("data-up");
  if (!menu.open) return;
  const button = menu.querySelector("summary").getBoundingClientRect();
  const height = menu.querySelector(".menu__panel").offsetHeight;
  const below = innerHeight - button.bottom;
  menu.toggleAttribute("data-up", height > below && button.top > below);
}
