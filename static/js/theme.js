// Loaded before the page is drawn, so that it appears in its theme at once.
(() => {
  const chosen = localStorage.getItem("berth-theme");
  const dark = chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
})();
