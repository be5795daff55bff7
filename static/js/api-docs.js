// Swagger UI over the schema, tried out with a token that stays in the page.
"use strict";

const dark = matchMedia("(prefers-color-scheme: dark)");
const root = document.documentElement;

// Swagger UI's own dark theme, by the same choice as on every other page (theme.js).
function followTheme() {
  root.classList.toggle("dark-mode", root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
}

followTheme();
dark.addEventListener("change", followTheme);

const page = document.getElementById("api-docs");

window.SwaggerUIBundle({
  domNode: page,
  url: page.dataset.schema,
  deepLinking: true,
  docExpansion: "list",
  persistAuthorization: false,
  validatorUrl: null,
});
