// <form data-plan="URL"> shows in its [data-plan-shown] what it would come to, asked of the server as it is filled in;
// with data-plan-now at once, for one that is filled in already.
const WAIT_MS = 300;
const asking = new WeakMap();

document.addEventListener("input", (event) => {
  const form = event.target.closest("form[data-plan]");
  if (form) plan(form, WAIT_MS);
});
for (const form of document.querySelectorAll("form[data-plan-now]")) plan(form, 0);

// The newest question alone is answered: an older one is given up.
async function plan(form, wait) {
  asking.get(form)?.abort();
  const question = new AbortController();
  asking.set(form, question);
  await new Promise((resolve) => setTimeout(resolve, wait));
  if (question.signal.aborted || form.dataset.sent) return;
  const shown = form.querySelector("[data-plan-shown]");
  shown.setAttribute("aria-busy", "true");
  try {
    const answer = await fetch(form.dataset.plan, { method: "POST", body: asked(form), signal: question.signal, redirect: "manual" });
    if (answer.ok || answer.status === 422) shown.innerHTML = await answer.text();
  } catch {
    // what was shown stays; the form itself is decided by the server
  } finally {
    if (asking.get(form) === question) shown.removeAttribute("aria-busy");
  }
}

// Without the key by which a form acts once: this one does not act.
function asked(form) {
  const data = new FormData(form);
  data.delete("idempotency_key");
  return data;
}
