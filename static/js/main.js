// What every page has. Each behaviour is bound by a data- attribute and also works on fragments that arrive later.
import "./menu.js";
import "./dialog.js";
import "./copy.js";
import "./toast.js";
import "./time.js";
import "./once.js";
import "./confirm.js";
import "./select.js";
import "./live.js";

document.addEventListener("click", (event) => {
  if (!event.target.closest("[data-theme-toggle]")) return;
  const theme = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = theme;
  localStorage.setItem("berth-theme", theme);
});
