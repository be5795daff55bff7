// <button data-dialog="id"> opens <dialog id="id">; [data-dialog-close] inside closes it. The browser keeps and returns the focus.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-dialog]");
  if (opener) {
    event.preventDefault();
    document.getElementById(opener.dataset.dialog).showModal();
  }
  event.target.closest("[data-dialog-close]")?.closest("dialog").close();
});
