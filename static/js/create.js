// The create page: the names and the curl line follow what is chosen. What it comes to, plan.js asks the server.
const form = document.querySelector("[data-create]");

// Sizes that are too small for the chosen image are told apart before the server has to refuse them.
function markTooSmall(image) {
  for (const size of form.querySelectorAll("input[name=flavor]")) {
    const small = Number(size.dataset.memory_mib) < Number(image.dataset.memory) || Number(size.dataset.disk_gib) < Number(image.dataset.disk);
    size.closest(".choice").toggleAttribute("data-too-small", small);
    size.setCustomValidity(small && size.checked ? `${image.dataset.name} needs a larger size.` : "");
  }
}

function curl(image, size) {
  const line = document.getElementById("curl");
  const keys = [...form.querySelectorAll("input[name=ssh_keys]:checked")].map((box) => box.value);
  const body = { tenant: line.dataset.tenant, name: form.elements.name.value, image: image?.dataset.slug ?? "", flavor: size?.dataset.slug ?? "", ssh_keys: keys };
  line.textContent = [
    `curl -X POST ${line.dataset.curl} \\`,
    "  -H 'Authorization: Bearer TOKEN' \\",
    "  -H 'Content-Type: application/json' \\",
    `  -d '${JSON.stringify(body).replaceAll("'", "'\\''")}'`,
  ].join("\n");
}

function show() {
  const image = form.querySelector("input[name=image]:checked");
  const size = form.querySelector("input[name=flavor]:checked");
  if (image) {
    form.querySelector("[data-sum=image]").textContent = image.dataset.name;
    markTooSmall(image);
  }
  if (size) {
    form.querySelector("[data-sum=flavor]").textContent = size.dataset.name;
    form.querySelector("[data-sum=words]").textContent = size.dataset.words;
  }
  curl(image, size);
}

form.addEventListener("input", show);
show();
