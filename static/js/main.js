// What every page has. Each behaviour is bound by a data- attribute and also works on fragments that arrive later.
import "./theme-toggle.js";
import "./menu.js";
import "./drawer.js";
import "./tabs.js";
import "./reason.js";
import "./dialog.js";
import "./copy.js";
import "./toast.js";
import "./time.js";
import "./once.js";
import "./answer.js";
import "./confirm.js";
import "./errors.js";
import "./select.js";
import "./live.js";
