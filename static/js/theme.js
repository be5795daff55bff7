// Loaded before the page is drawn, so that a chosen theme is there at once; without a choice, tokens.css follows the system.
(() => {
  try {
    const chosen = localStorage.getItem("berth-theme");
    if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
  } catch {
    // The browser keeps nothing for this site: the system's theme it is.
  }
})();
