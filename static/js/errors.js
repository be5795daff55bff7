// A form that came back with errors shows the first of them: far down on a long page nobody would see that it is there.
const main = document.querySelector("main");
const first = main?.querySelector('form :is([aria-invalid="true"], .field__error, .notice--failed[role="alert"])');

if (first) {
  const place = first.matches("input, select, textarea") ? first : first.closest("form").querySelector('[aria-invalid="true"]') ?? first;
  if (place === first && !first.matches("input, select, textarea")) first.tabIndex = -1;
  place.focus({ preventScroll: true });
  place.scrollIntoView({ block: "center" });
}
