// Short messages in the corner. What went well leaves after six seconds, unless it is being read; all else stays until dismissed.
const SECONDS = 6;

// `look` is one of the templates in components/toasts.html: running or attention.
export function toast(words, look = "running") {
  const template = document.querySelector(`[data-toast-template="${look}"]`);
  const element = template.content.firstElementChild.cloneNode(true);
  element.querySelector("[data-toast-words]").textContent = words;
  document.querySelector("[data-toasts]").append(element);
  leaveLater(element);
}

function leaveLater(element) {
  if (element.dataset.toast !== "running") return;
  setTimeout(() => (element.matches(":hover, :focus-within") ? leaveLater(element) : element.remove()), SECONDS * 1000);
}

document.addEventListener("click", (event) => event.target.closest("[data-toast-close]")?.closest("[data-toast]").remove());
document.querySelectorAll("[data-toast]").forEach(leaveLater);
