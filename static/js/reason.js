// The words beside a button that may not be used, shown by CSS on hover and focus, go away on Escape (WCAG 1.4.13).
const SHOWN = ".reason:is(:hover, :focus-within)";

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") document.querySelectorAll(SHOWN).forEach((each) => each.setAttribute("data-dismissed", ""));
});

for (const name of ["pointerout", "focusout"]) {
  document.addEventListener(name, (event) => {
    const reason = event.target.closest?.("[data-dismissed]");
    if (reason && !reason.contains(event.relatedTarget)) reason.removeAttribute("data-dismissed");
  });
}
