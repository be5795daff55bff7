// A list in which several rows can be chosen: [data-select] holds boxes [data-select-row], [data-select-all] and a [data-select-bar]
// with a [data-select-count]. Rows that live.js replaces keep their choice.
function update(list) {
  const boxes = [...list.querySelectorAll("[data-select-row]")];
  const chosen = boxes.filter((box) => box.checked);
  const bar = list.querySelector("[data-select-bar]");
  bar.hidden = chosen.length === 0;
  bar.querySelector("[data-select-count]").textContent = `${chosen.length} chosen`;
  const all = list.querySelector("[data-select-all]");
  if (all) {
    all.checked = boxes.length > 0 && chosen.length === boxes.length;
    all.indeterminate = chosen.length > 0 && chosen.length < boxes.length;
  }
}

document.addEventListener("change", (event) => {
  const list = event.target.closest("[data-select]");
  if (!list) return;
  if (event.target.matches("[data-select-all]")) {
    for (const box of list.querySelectorAll("[data-select-row]")) box.checked = event.target.checked;
  }
  update(list);
});
document.addEventListener("berth:replaced", (event) => {
  const list = event.target.closest?.("[data-select]");
  if (list) update(list);
});
document.querySelectorAll("[data-select]").forEach(update);
