// Short messages in the corner. They stay until dismissed when something went wrong, else for six seconds.
const SECONDS = 6;

export function toast(words, look = "running") {
  const holder = document.querySelector("[data-toasts]");
  const element = document.createElement("div");
  element.className = `toast notice--${look}`;
  element.dataset.toast = "";
  const text = document.createElement("p");
  text.className = "toast__words";
  text.textContent = words;
  element.append(text);
  holder.append(element);
  leaveLater(element);
}

function leaveLater(element) {
  if (element.classList.contains("notice--running")) setTimeout(() => element.remove(), SECONDS * 1000);
}

document.addEventListener("click", (event) => event.target.closest("[data-toast-close]")?.closest("[data-toast]").remove());
document.querySelectorAll("[data-toast]").forEach(leaveLater);
