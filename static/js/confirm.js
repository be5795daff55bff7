// <input data-confirm-name="web-1">: the form's [data-confirm-submit] works once the name is typed.
function check(input) {
  const button = input.form?.querySelector("[data-confirm-submit]");
  if (button) button.disabled = input.value.trim() !== input.dataset.confirmName;
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-confirm-name]")) check(event.target);
});
document.addEventListener("berth:replaced", (event) => event.target.querySelectorAll("[data-confirm-name]").forEach(check));
document.querySelectorAll("[data-confirm-name]").forEach(check);
