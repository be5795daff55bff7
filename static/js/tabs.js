// Where the tabs are wider than the screen, the current one is in view; also in a head that live.js has replaced.
function show() {
  const current = document.querySelector(".tabs [aria-current]");
  if (!current) return;
  const tabs = current.parentElement;
  tabs.scrollLeft = current.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - current.clientWidth) / 2;
}

document.addEventListener("berth:replaced", (event) => {
  if (event.target.querySelector(".tabs")) show();
});
show();
