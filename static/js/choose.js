// In [data-chooses="field"], what is [data-only-for="a b"] is shown while that field is a or b.
for (const root of document.querySelectorAll("[data-chooses]")) {
  root.addEventListener("change", (event) => event.target.name === root.dataset.chooses && show(root, event.target.value));
}

function show(root, chosen) {
  for (const part of root.querySelectorAll("[data-only-for]")) part.hidden = !part.dataset.onlyFor.split(" ").includes(chosen);
}
