// A page that answered a form is not kept by the browser, which would say so in its own words to whoever comes back to it.
// Its address shows the same form as it is now, so coming back and reloading ask for that.
if ("answer" in document.body.dataset) history.replaceState(history.state, "", location.href);
