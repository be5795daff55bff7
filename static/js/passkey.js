// Passkeys (https://www.w3.org/TR/webauthn-3/): a form with data-passkey="create" or "get" asks the browser for one
// before it is sent. The options stand in the page, as JSON in an element of the form, or at data-passkey-url.

const CEREMONIES = {
  async create(options, form) {
    const wanted = PublicKeyCredential.parseCreationOptionsFromJSON(withWish(options, form))
    return navigator.credentials.create({ publicKey: wanted })
  },
  async get(options) {
    return navigator.credentials.get({ publicKey: PublicKeyCredential.parseRequestOptionsFromJSON(options) })
  },
}

// One that signs in alone is kept on the device and asks for a PIN, a finger or a face.
function withWish(options, form) {
  const isAlone = form.elements.passwordless?.checked ?? true
  const selection = {
    ...options.authenticatorSelection,
    residentKey: isAlone ? "required" : "discouraged",
    requireResidentKey: isAlone,
  }
  if (isAlone) selection.userVerification = "required"
  return { ...options, authenticatorSelection: selection }
}

async function optionsOf(form) {
  const inPage = form.querySelector("script[type='application/json']")
  if (inPage) return Object.values(JSON.parse(inPage.textContent))[0].publicKey
  const answer = await fetch(form.dataset.passkeyUrl, { headers: { Accept: "application/json" } })
  if (!answer.ok) throw new Error(`the portal answered ${answer.status}`)
  return (await answer.json()).request_options.publicKey
}

function tell(form, words) {
  const place = form.querySelector("[data-passkey-error]")
  place.textContent = words
  place.hidden = !words
}

async function ask(form) {
  tell(form, "")
  try {
    const credential = await CEREMONIES[form.dataset.passkey](await optionsOf(form), form)
    form.elements.credential.value = JSON.stringify(credential.toJSON())
    form.submit()
  } catch (error) {
    tell(form, error.name === "NotAllowedError" ? "Nothing was chosen. Try again." : `It did not work: ${error.message}`)
  }
}

const isKnown = globalThis.PublicKeyCredential?.parseRequestOptionsFromJSON !== undefined

for (const form of document.querySelectorAll("form[data-passkey]")) {
  form.addEventListener("submit", (event) => {
    event.preventDefault()
    if (isKnown) ask(form)
    else tell(form, "This browser cannot use passkeys here: it is too old, or the address is not secure.")
  })
}
