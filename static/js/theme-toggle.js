// [data-theme-toggle] changes to the other theme and remembers it.
document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const root = document.documentElement;
  const present = root.dataset.theme ?? (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  root.dataset.theme = present === "dark" ? "light" : "dark";
  try {
    localStorage.setItem("berth-theme", root.dataset.theme);
  } catch {
    // Not remembered, where the browser keeps nothing for this site.
  }
});
